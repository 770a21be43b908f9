"""Which text is the body: alternatives, related parts, mixed ones, attached messages."""

from __future__ import annotations

from typing import Any

import pytest
from support.mail import leaf, mail, multipart

from gmail_client.views.parts import body_of

PLAIN, HTML = leaf("text/plain", "plain"), leaf("text/html", "<p>html</p>")
BLANK = leaf("text/plain", " \r\n\t")
IMAGE = leaf("image/png", filename="a.png", attachment="x")


@pytest.mark.parametrize(
    ("payload", "text", "html"),
    [
        (PLAIN, "plain", None),
        (HTML, "html", "<p>html</p>"),
        (leaf("TEXT/PLAIN", "plain"), "plain", None),
        (leaf("text/plain"), None, None),
        (leaf("text/enriched", "rich"), "rich", None),
        (leaf("text/calendar", "BEGIN"), None, None),
        (IMAGE, None, None),
        (multipart("alternative", PLAIN, HTML), "plain", "<p>html</p>"),
        (multipart("alternative", BLANK, HTML), "html", "<p>html</p>"),
        (multipart("alternative", PLAIN, leaf("text/calendar", "BEGIN")), "plain", None),
        (multipart("alternative", leaf("text/enriched", "rich"), HTML), "rich", "<p>html</p>"),
        (multipart("alternative", PLAIN, multipart("related", HTML, IMAGE)), "plain", "<p>html</p>"),
        (multipart("related", multipart("alternative", PLAIN, HTML), IMAGE), "plain", "<p>html</p>"),
        (
            multipart("mixed", multipart("alternative", PLAIN, HTML), leaf("text/plain", "end")),
            "plain\nend",
            "<p>html</p>",
        ),
        (multipart("mixed", PLAIN, IMAGE, HTML), "plain\nhtml", "<p>html</p>"),
        (multipart("mixed", leaf("text/plain", "x", filename="x.txt"), PLAIN), "plain", None),
        (multipart("mixed", PLAIN, multipart("rfc822", HTML, mime_type="message")), "plain", None),
        (multipart("signed", PLAIN, leaf("application/pgp-signature", attachment="x")), "plain", None),
        (multipart("mixed"), None, None),
        (multipart("alternative", multipart("mixed", PLAIN, leaf("text/plain", "2")), HTML), "plain\n2", "<p>html</p>"),
    ],
)  # fmt: skip
def test_bodies(payload: dict[str, Any], text: str | None, html: str | None) -> None:
    body = body_of(mail(payload)["payload"])
    assert (body.text, body.html) == (text, html)


def test_the_text_is_utf8_whatever_the_part_says() -> None:
    part = leaf("text/plain", "Grüße", headers={"Content-Type": "text/plain; charset=iso-8859-1"})
    assert body_of(part).text == "Grüße"


def test_a_very_deep_tree_has_no_body_and_no_error() -> None:
    payload = PLAIN
    for _ in range(5_000):
        payload = {"mimeType": "multipart/mixed", "parts": [payload]}
    assert body_of(payload).text is None
