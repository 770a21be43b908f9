"""The words of generated mail, as data: names, greetings, subjects and sentences in twenty languages.

Every text of a language can be encoded in each of its charsets (a test checks it), so that a mail in KOI8-R or
ISO-2022-JP loses nothing when it is converted to UTF-8.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["COMMON_WORDS", "LANGUAGES", "Language"]


@dataclass(frozen=True)
class Language:
    """One language: `weight` is its share of the mail, `charsets` are those of its mailers, the most common first."""

    code: str
    weight: float
    charsets: tuple[str, ...]
    given: tuple[str, ...]
    family: tuple[str, ...]
    hello: str
    bye: str
    wrote: str
    subjects: tuple[str, ...]
    sentences: tuple[str, ...]


def _language(
    code: str,
    weight: float,
    charsets: str,
    names: str,
    phrases: str,
    subjects: str,
    sentences: str,
) -> Language:
    given, family = names.split(" | ")
    hello, bye, wrote = phrases.split(" | ")
    return Language(
        code,
        weight,
        tuple(charsets.split()),
        tuple(given.split()),
        tuple(family.split()),
        hello,
        bye,
        wrote,
        tuple(subjects.split(" | ")),
        tuple(line.strip() for line in sentences.strip().splitlines()),
    )


LANGUAGES: tuple[Language, ...] = (
    _language(
        "en",
        52,
        "utf-8 us-ascii iso-8859-1 windows-1252",
        "Ada Grace Edith Harold Nina Oscar Priya Samuel Tessa Victor Wanda Yusuf"
        " | Ashdown Birch Calder Draper Elwood Fenwick Garland Hollis Ingram Marlow Quill Thorne",
        "Hi | Best wishes | wrote",
        "Notes from the planning meeting | Tickets for Saturday | Your order has shipped | Draft of the report"
        " | Question about the invoice | Moving the review to Thursday | Photos from the lake | Roof repair quote"
        " | Weekly digest | Minutes and next steps | Can you have a look? | Reading list for the course",
        """
        The numbers for the second quarter look better than we feared, but two regions are still missing.
        Could you send me the latest version of the drawing before the end of the week?
        I walked past the old station yesterday and the whole front is covered in scaffolding.
        We agreed to keep the current supplier until the tests with the new valves are finished.
        Please find the signed copy attached; the original goes out by post tomorrow morning.
        The children loved the boat trip, although the wind was stronger than the forecast had promised.
        If Thursday does not suit you, any time after four on Friday works for me as well.
        There is a small mistake in line 14: the total should include the delivery charge.
        Thanks for the quick answer, that settles the matter for now.
        The library opens at nine, so we could meet there and walk over together.
        Our server was slow this morning because a backup ran during working hours.
        I have put the recipe below, use less sugar than it says and bake it a little longer.
        Nobody has heard from the plumber, and the kitchen is still without water.
        The second chapter reads well now, the third one still wanders away from the question.
        Let me know whether the train times fit, otherwise I will book the later one.
        Our budget allows two more chairs, but not the large table from the catalogue.
        """,
    ),
    _language(
        "de",
        8,
        "utf-8 iso-8859-1 iso-8859-15 windows-1252",
        "Jörg Käthe Anton Brigitte Günther Ulrike | Müller Schröder Weiß Lindqvist Öhlmann Baumgärtner",
        "Hallo | Viele Grüße | schrieb",
        "Rückfrage zur Rechnung | Termin am Donnerstag | Überarbeiteter Entwurf | Fotos vom Ausflug"
        " | Ihre Bestellung wurde versandt",
        """
        Die Zahlen für das zweite Quartal sind besser, als wir befürchtet hatten.
        Könnten Sie mir bis Freitag die überarbeitete Fassung schicken?
        Am Bahnhof wird gebaut, nehmt also lieber die Straße über den Hügel.
        Wir haben beschlossen, den Lieferanten vorläufig nicht zu wechseln.
        Das unterschriebene Exemplar liegt bei, das Original kommt mit der Post.
        Die Kinder wären am liebsten den ganzen Tag am See geblieben.
        In Zeile 14 fehlt die Versandgebühr, die Summe stimmt daher nicht.
        Falls der Donnerstag nicht passt, ginge es auch am Freitag ab sechzehn Uhr.
        Vielen Dank für die schnelle Antwort, damit ist die Sache vorerst geklärt.
        Der größte Teil der Äpfel ist schon gepflückt, die Kirschen waren dieses Jahr süß.
        """,
    ),
    _language(
        "fr",
        5,
        "utf-8 iso-8859-1 iso-8859-15 windows-1252",
        "Élodie François Hélène Rémi Solène Mathieu | Lefèvre Bélanger Guérin Château Noël Durand",
        "Bonjour | Bien à vous | a écrit",
        "Compte rendu de la réunion | Réservation confirmée | Question sur la facture | Photos de l'été"
        " | Nouvelle version du rapport",
        """
        Les chiffres du deuxième trimestre sont meilleurs que prévu.
        Pourriez-vous m'envoyer la dernière version avant la fin de la semaine ?
        La façade de l'ancienne gare est couverte d'échafaudages.
        Nous avons décidé de garder le fournisseur actuel jusqu'à la fin des essais.
        Vous trouverez ci-joint l'exemplaire signé ; l'original part demain par la poste.
        Les enfants ont adoré la traversée, malgré le vent.
        Si jeudi ne vous convient pas, je suis libre vendredi après seize heures.
        Il manque les frais de livraison à la ligne 14, le total est donc faux.
        Merci pour votre réponse rapide, l'affaire est réglée pour le moment.
        Le garçon a déjà reçu son cadeau de Noël, il était ravi.
        """,
    ),
    _language(
        "es",
        5,
        "utf-8 iso-8859-1 windows-1252",
        "Íñigo María Andrés Begoña Raúl Lucía | Núñez Ibáñez Peña Márquez Castaño Sáenz",
        "Hola | Un saludo | escribió",
        "Acta de la reunión | ¿Puedes echarle un vistazo? | Tu pedido está en camino | Fotos del sábado"
        " | Duda sobre la factura",
        """
        Las cifras del segundo trimestre son mejores de lo que temíamos.
        ¿Podrías enviarme la última versión antes del viernes?
        Ayer pasé por la antigua estación y está llena de andamios.
        Hemos decidido mantener al proveedor actual hasta que terminen las pruebas.
        Adjunto la copia firmada; el original sale mañana por correo.
        A los niños les encantó el paseo en barco, aunque hacía mucho viento.
        Si el jueves no te viene bien, el viernes después de las cuatro también puedo.
        En la línea 14 faltan los gastos de envío, así que el total está mal.
        Gracias por la respuesta tan rápida, con eso queda resuelto por ahora.
        El año que viene plantaremos más tomates y menos calabacín.
        """,
    ),
    _language(
        "pt",
        3,
        "utf-8 iso-8859-1",
        "João Conceição Inês Tomás Mônica Fábio | Araújo Simões Gonçalves Leitão Brandão Falcão",
        "Olá | Um abraço | escreveu",
        "Ata da reunião | Sua encomenda já saiu | Dúvida sobre a fatura | Fotos do verão",
        """
        Os números do segundo trimestre são melhores do que esperávamos.
        Você poderia me enviar a última versão até sexta-feira?
        A fachada da velha estação está coberta de andaimes.
        Decidimos manter o fornecedor atual até o fim dos testes.
        Segue em anexo a cópia assinada; o original vai amanhã pelo correio.
        As crianças adoraram o passeio de barco, apesar do vento.
        Faltam as despesas de envio na linha 14, portanto o total está errado.
        Obrigado pela resposta rápida, por enquanto está resolvido.
        """,
    ),
    _language(
        "it",
        3,
        "utf-8 iso-8859-1",
        "Niccolò Giada Ettore Perla Dario Zoè | Nardò Bellandi Forlì Cantù Morandini Patanè",
        "Ciao | Cordiali saluti | ha scritto",
        "Verbale della riunione | Il tuo ordine è partito | Domanda sulla fattura | Novità della settimana",
        """
        I numeri del secondo trimestre sono migliori di quanto temessimo.
        Potresti mandarmi l'ultima versione entro venerdì?
        La vecchia stazione è coperta di impalcature, però il bar è aperto.
        Abbiamo deciso di tenere il fornitore attuale finché le prove non sono finite.
        In allegato trovi la copia firmata; l'originale parte domani per posta.
        Alla riga 14 mancano le spese di spedizione, perciò il totale è sbagliato.
        Grazie della risposta veloce, per ora la questione è chiusa.
        Il caffè della città è più buono di quello dell'università.
        """,
    ),
    _language(
        "nl",
        2,
        "utf-8 iso-8859-1",
        "Daniël Zoë Maaike Joost | Cuyperé Vermeer Dijkgraaf Hoekstra",
        "Beste | Met vriendelijke groet | schreef",
        "Notulen van de vergadering | Vraag over de factuur | Je bestelling is onderweg",
        """
        De cijfers van het tweede kwartaal zijn beter dan we vreesden.
        Kun je me vóór vrijdag de laatste versie sturen?
        Het oude station staat helemaal in de steigers.
        We blijven voorlopig bij de huidige leverancier.
        In regel 14 ontbreken de verzendkosten, dus het totaal klopt niet.
        Bedankt voor het snelle antwoord, één vraag blijft nog over.
        """,
    ),
    _language(
        "sv",
        2,
        "utf-8 iso-8859-1",
        "Åsa Björn Märta Göran | Sjögren Åkerlund Öberg Lindström",
        "Hej | Vänliga hälsningar | skrev",
        "Protokoll från mötet | Fråga om fakturan | Din beställning är på väg",
        """
        Siffrorna för det andra kvartalet är bättre än vi befarade.
        Kan du skicka den senaste versionen före fredag?
        Den gamla stationen är täckt av byggnadsställningar.
        Vi behåller leverantören tills proven är klara.
        På rad 14 saknas frakten, så summan stämmer inte.
        Barnen älskade båtturen, fast det blåste mer än väntat.
        """,
    ),
    _language(
        "pl",
        2,
        "utf-8 iso-8859-2",
        "Łukasz Żaneta Świętosława Jędrzej | Wójcik Dąbrowski Źródłowski Kłos",
        "Cześć | Pozdrawiam | napisał",
        "Notatki ze spotkania | Pytanie o fakturę | Twoje zamówienie już wyruszyło",
        """
        Wyniki drugiego kwartału są lepsze, niż się obawialiśmy.
        Czy możesz przysłać mi ostatnią wersję do piątku?
        Stary dworzec jest cały w rusztowaniach, wejście jest z boku.
        Zostajemy przy obecnym dostawcy, dopóki nie skończą się próby.
        W wierszu 14 brakuje kosztów wysyłki, więc suma się nie zgadza.
        Dziękuję za szybką odpowiedź, na razie wszystko jasne.
        """,
    ),
    _language(
        "tr",
        2,
        "utf-8 iso-8859-9",
        "Ayşe Çağrı Gökçe İlker | Yıldız Şahin Öztürk Güneş",
        "Merhaba | Sevgiler | yazdı",
        "Toplantı notları | Fatura hakkında soru | Siparişiniz yola çıktı",
        """
        İkinci çeyreğin sonuçları korktuğumuzdan daha iyi.
        Son sürümü cuma gününden önce gönderebilir misin?
        Eski istasyonun önü iskeleyle kaplı, yandan girmek gerekiyor.
        Denemeler bitene kadar şimdiki tedarikçiyle devam edeceğiz.
        On dördüncü satırda kargo ücreti eksik, toplam yanlış.
        Hızlı yanıtın için teşekkürler, şimdilik konu kapandı.
        """,
    ),
    _language(
        "ru",
        3,
        "utf-8 koi8-r windows-1251",
        "Аркадий Зинаида Прохор Таисия | Берёзкин Журавлёва Полянский Чижова",
        "Здравствуйте | С уважением | написал(а)",
        "Протокол встречи | Вопрос по счёту | Ваш заказ отправлен | Фотографии с озера",
        """
        Показатели за второй квартал лучше, чем мы опасались.
        Пришлите, пожалуйста, последнюю версию до пятницы.
        Старый вокзал весь в строительных лесах, вход со двора.
        До конца испытаний мы остаёмся с прежним поставщиком.
        В строке 14 не учтена доставка, поэтому итог неверен.
        Детям очень понравилась поездка на лодке, хотя дул сильный ветер.
        Спасибо за быстрый ответ, пока вопрос закрыт.
        """,
    ),
    _language(
        "uk",
        1,
        "utf-8 koi8-u windows-1251",
        "Богдан Ґражина Їржина Остап | Гайовий Кравець Лісовська Яремчук",
        "Вітаю | З повагою | пише",
        "Нотатки зустрічі | Питання щодо рахунку",
        """
        Показники другого кварталу кращі, ніж ми побоювалися.
        Надішліть, будь ласка, останню версію до п'ятниці.
        Старий вокзал увесь у риштуванні, вхід із подвір'я.
        У рядку 14 бракує вартості доставки, тому сума хибна.
        Дякую за швидку відповідь, її цілком досить.
        """,
    ),
    _language(
        "el",
        1,
        "utf-8 iso-8859-7",
        "Αγάθη Λεωνίδας Μυρτώ Φίλιππος | Καρράς Σταύρου Ξένος Ψαρρός",
        "Γεια σας | Με εκτίμηση | έγραψε",
        "Πρακτικά της συνάντησης | Ερώτηση για το τιμολόγιο",
        """
        Τα στοιχεία του δεύτερου τριμήνου είναι καλύτερα απ' όσο φοβόμασταν.
        Μπορείτε να μου στείλετε την τελευταία έκδοση ως την Παρασκευή;
        Ο παλιός σταθμός είναι γεμάτος σκαλωσιές.
        Στη γραμμή 14 λείπουν τα μεταφορικά, οπότε το σύνολο είναι λάθος.
        Ευχαριστώ για τη γρήγορη απάντηση.
        """,
    ),
    _language(
        "he",
        1,
        "utf-8 windows-1255",
        "נועם תמר אלון יעל | ברוש גפן שקד אורן",
        "שלום | בברכה | כתב",
        "סיכום הפגישה | שאלה על החשבונית",
        """
        הנתונים של הרבעון השני טובים יותר ממה שחששנו.
        אפשר לשלוח לי את הגרסה האחרונה עד יום שישי?
        התחנה הישנה מכוסה בפיגומים והכניסה מהצד.
        בשורה 14 חסרים דמי המשלוח ולכן הסכום שגוי.
        תודה על התשובה המהירה.
        """,
    ),
    _language(
        "ar",
        1,
        "utf-8 windows-1256",
        "سلمى طارق ليلى مروان | النجار الحداد الخياط الصباغ",
        "مرحبا | مع التحية | كتب",
        "ملخص الاجتماع | سؤال عن الفاتورة",
        """
        أرقام الربع الثاني أفضل مما كنا نخشى.
        هل يمكنك إرسال النسخة الأخيرة قبل يوم الجمعة؟
        المحطة القديمة مغطاة بالسقالات والمدخل من الجانب.
        تكلفة الشحن ناقصة في السطر 14 ولذلك المجموع خطأ.
        شكرا على الرد السريع.
        """,
    ),
    _language(
        "hi",
        1,
        "utf-8",
        "आरती विवेक मीनाक्षी रोहन | वाटिका सरोवर पर्वत दीपक",
        "नमस्ते | सादर | ने लिखा",
        "बैठक का विवरण | बिल के बारे में प्रश्न",
        """
        दूसरी तिमाही के आँकड़े हमारी आशंका से बेहतर हैं।
        क्या आप शुक्रवार तक अंतिम संस्करण भेज सकते हैं?
        पुराने स्टेशन पर मरम्मत चल रही है, प्रवेश बगल से है।
        पंक्ति 14 में डाक शुल्क नहीं है, इसलिए योग गलत है।
        इतनी जल्दी उत्तर देने के लिए धन्यवाद।
        """,
    ),
    _language(
        "th",
        1,
        "utf-8 tis-620",
        "มะลิ สายชล ดารา ภูผา | ใบไม้ ลำธาร ดอกแก้ว ทุ่งนา",
        "สวัสดี | ด้วยความนับถือ | เขียนว่า",
        "บันทึกการประชุม | คำถามเรื่องใบแจ้งหนี้",
        """
        ตัวเลขของไตรมาสที่สองดีกว่าที่เรากังวล
        ช่วยส่งฉบับล่าสุดให้ก่อนวันศุกร์ได้ไหม
        สถานีเก่ากำลังซ่อมแซม ต้องเข้าทางด้านข้าง
        บรรทัดที่ 14 ยังไม่รวมค่าส่ง ยอดรวมจึงผิด
        ขอบคุณที่ตอบเร็วมาก
        """,
    ),
    _language(
        "zh",
        3,
        "utf-8 gb2312 gb18030",
        "青松 若水 明月 思远 | 竹林 山川 江南 白云",
        "您好 | 此致敬礼 | 写道",
        "会议纪要 | 关于发票的问题 | 您的订单已发货 | 湖边的照片",
        """
        第二季度的数据比我们担心的要好，不过还缺两个地区。
        请在星期五之前把最新版本发给我，好吗？
        昨天路过老车站，整个正面都搭了脚手架。
        在新阀门测试完成之前，我们决定继续用现在的供应商。
        第14行漏了运费，所以总数不对。
        孩子们很喜欢坐船，虽然风比预报的大。
        谢谢您这么快就回复，这件事暂时解决了。
        """,
    ),
    _language(
        "ja",
        3,
        "utf-8 iso-2022-jp shift_jis",
        "さくら 健太 美月 大地 | 森川 若葉 青野 小春",
        "こんにちは | よろしくお願いいたします | さんが書きました",
        "会議の議事録 | 請求書についての質問 | ご注文の商品を発送しました | 湖の写真",
        """
        第二四半期の数字は心配していたよりも良い結果でした。
        金曜日までに最新版を送っていただけますか。
        昨日、古い駅の前を通ったら、足場が組まれていました。
        新しい弁の試験が終わるまでは、今の仕入先を続けることにしました。
        14行目に送料が入っていないため、合計が違っています。
        子どもたちは船がとても気に入りました。
        早速のお返事ありがとうございました。
        """,
    ),
    _language(
        "ko",
        2,
        "utf-8 euc-kr",
        "하늘 보람 새봄 한솔 | 나무 바다 이슬 구름",
        "안녕하세요 | 감사합니다 | 님이 작성",
        "회의록 | 청구서 문의 | 주문하신 상품이 발송되었습니다",
        """
        이번 분기의 실적은 걱정했던 것보다 좋습니다.
        금요일까지 최신 문서를 보내 주실 수 있나요?
        어제 옛날 역 앞을 지나갔는데 공사가 한창이었습니다.
        시험이 끝날 때까지 지금의 거래처를 유지하기로 했습니다.
        열네 번째 줄에 배송비가 빠져서 합계가 맞지 않습니다.
        빠른 답장 감사합니다.
        """,
    ),
)

COMMON_WORDS = {
    "en": """
        about above account across action active add address advice after again agree air all almost alone
        along already also amount answer appear area arrive article ask attach attempt available average
        away back balance bank base basic become begin behind believe below benefit better between bill
        board book both bottom branch break bring build business buy call cancel care carry case catch cause
        center certain chance change charge check choice city claim clear client close code collect comment
        common company compare complete concern condition confirm connect consider contact contain continue
        contract control copy correct cost count couple course cover create credit current customer cut
        daily data date day deal decide deep delay deliver demand department depend describe design detail
        develop device difference direct discount discuss distance document door double doubt draft draw
        drive drop due during each early earn easy edit effect effort either else email empty enable engine
        enough ensure enter entire entry equal error estimate even event every exact example except exchange
        expect expense explain express extend extra face fact fair fall family far fast favor feature feel
        field figure file fill final find finish firm first fit fix flight floor focus follow food force
        foreign forget form forward free frequent friend front full function fund further future garden
        general give glad goal good grade grant great ground group grow guarantee guest guide half hand
        handle happen hard head health hear heat help high history hold holiday home hope hotel hour house
        however idea image impact improve include increase inform inside instead interest issue item join
        journey judge keep key kind know label large last late launch law lead learn least leave legal
        length less letter level light limit link list little local location long look lose loss low machine
        main maintain manage many map mark market match material matter maybe mean measure medium member
        mention message method middle might mind minute miss mix model modern money month move much must
        name narrow near need negative network never news next night normal notice number object offer
        office often open operate opinion option order organize other outside over own owner pack page paper
        part partner party pass past pay people per period permit person phone pick picture piece place plan
        plant play point policy poor popular position possible power practice prefer prepare present press
        price print private problem process produce product profit program project promise proof proper
        protect prove provide public purchase purpose push quality quarter question quiet quite range rate
        rather reach read ready real reason receive recent recommend record reduce refer region register
        regular relate release remain remember remind remove rent repair repeat replace reply request
        require research reserve resource respond rest result return review right rise risk road role roof
        room rule run safe sale same sample save scale scene schedule school search season second section
        secure see seem select sell send sense separate serious serve service session settle several share
        sheet ship short show side sign similar simple since single site situation size small social soft
        solution some soon sort sound source space special speed spend stage stand standard start state
        station stay step still stock stop store story street strong study subject submit success such
        suggest suit supply support sure surface survey system table take talk target task teach team
        technical tell term test text than their theme these thing think though through ticket time title
        together tool top topic total touch tour toward town trade traffic train transfer travel treat trial
        trip true trust try turn type under unit until update upon usual value various version visit voice
        volume wait walk wall want warm watch water weather week weight welcome well whether which while
        whole wide window winter wish within without wonder word work world worry worth write year yellow
        yesterday young
    """,
}
"""More words of a language that are common in mail."""
