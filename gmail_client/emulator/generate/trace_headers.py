"""The headers that mail servers add to a message in transit: Received, DKIM, ARC, authentication results.

They are as many and as long as in a real mailbox, with reserved domains and documentation addresses only.
"""

from __future__ import annotations

import time
from random import Random

from gmail_client.emulator.generate.text_stock import base64_token, token

__all__ = ["date_text", "received", "submitted"]

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_LISTED = "to:subject:message-id:date:from:mime-version"


def date_text(seconds: int, offset_minutes: int = 0) -> str:
    """The value of a Date header for epoch seconds, in a time zone with this offset from UTC."""
    moment = time.gmtime(seconds + offset_minutes * 60)
    sign, minutes = ("-", -offset_minutes) if offset_minutes < 0 else ("+", offset_minutes)
    return (
        f"{_DAYS[moment.tm_wday]}, {moment.tm_mday:02d} {_MONTHS[moment.tm_mon - 1]} {moment.tm_year} "
        f"{moment.tm_hour:02d}:{moment.tm_min:02d}:{moment.tm_sec:02d} {sign}{minutes // 60:02d}{minutes % 60:02d}"
    )


def _signature(rng: Random) -> str:
    """An RSA signature of 2,048 bits in base64, folded as mail servers fold it."""
    text = base64_token(rng, 342) + "=="
    return "\f         ".join([text[cut : cut + 66] for cut in range(0, len(text), 66)])


def received(rng: Random, seconds: int, *, to: str, sender: str, listed: bool) -> str:
    """The header lines that mail servers add on top of an incoming message.

    Args:
        rng: Decides hosts, ids, the number of hops and signatures.
        seconds: When the author sent it, epoch seconds.
        to: The mailbox that it was delivered to.
        sender: The author's address.
        listed: Whether it was sent through a list or a bulk mailer: one more hop, signature and ARC set.
    """
    domain = sender.rpartition("@")[2] or "example.com"
    pacific = date_text(seconds + 3, -480)
    number = int(rng.random() * 200) + 1
    address = f"203.0.113.{number}"
    host = f"mail-{number}.{domain}"
    bounce = f"bounce+{token(rng, 8)}@{domain}" if listed else sender
    body_hash = base64_token(rng, 43) + "="
    passed = (
        f"dkim=pass header.i=@{domain} header.s=s1 header.b={token(rng, 8)};\f       spf=pass (gmail.test: domain "
        f"of {bounce} designates {address} as permitted sender) smtp.mailfrom={bounce};\f       dmarc=pass "
        f"(p=NONE sp=QUARANTINE dis=NONE) header.from={domain}\n"
    )
    lines = [
        f"Delivered-To: {to}\nReceived: by 2001:db8:{number:x}:4b2::{number:x} with SMTP id {token(rng, 14)}csp"
        f"{number * 7919};\f        {pacific}\nX-Gm-Smtp-Source: {token(rng, 82)}\nX-Received: by "
        f"2001:db8:{number:x}:1f0d:: with SMTP id {token(rng, 34)}.{number}.{seconds};\f        {pacific}\n"
    ]
    if listed or number <= 150:
        for instance in range(2 if listed and number % 3 == 0 else 1, 0, -1):
            lines.append(
                f"ARC-Seal: i={instance}; a=rsa-sha256; t={seconds}; cv={'pass' if instance > 1 else 'none'};\f"
                f"        d=gmail.test; s=arc-20240605;\f        b={_signature(rng)}\nARC-Message-Signature: "
                f"i={instance}; a=rsa-sha256; c=relaxed/relaxed; d=gmail.test; s=arc-20240605;\f        h={_LISTED}"
                f":dkim-signature;\f        bh={body_hash};\f        b={_signature(rng)}\n"
                f"ARC-Authentication-Results: i={instance}; mx.gmail.test;\f       {passed}"
            )
    lines.append(
        f"Return-Path: <{bounce}>\nReceived: from {host} ({host}. [{address}])\f        by mx.gmail.test with "
        f"ESMTPS id {token(rng, 30)}.{number}.{seconds}\f        for <{to}>\f        (version=TLS1_3 "
        f"cipher=TLS_AES_256_GCM_SHA384 bits=256/256);\f        {pacific}\nReceived-SPF: pass (gmail.test: "
        f"domain of {bounce} designates {address} as permitted sender) client-ip={address};\n"
        f"Authentication-Results: mx.gmail.test;\f       {passed}"
    )
    for selector in ("s1", "bulk") if listed else ("s1",):
        lines.append(
            f"DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d={domain}; s={selector};\f        t={seconds}; "
            f"x={seconds + 604800}; h={_LISTED};\f        bh={body_hash};\f        b={_signature(rng)}\n"
        )
    sent = date_text(seconds + 1)
    for hop in range(int(rng.random() * 3) + listed):
        lines.append(
            f"Received: from relay{hop}.{domain} (relay{hop}.{domain} [198.51.100.{number}])\f\tby {host} (Postfix) "
            f"with ESMTPS id {token(rng, 11)}\f\tfor <{to}>; {sent} (UTC)\n"
        )
    return "".join(lines)


def submitted(rng: Random, seconds: int) -> str:
    """The header lines of the one hop that mail sent from this account has."""
    number = int(rng.random() * 200) + 1
    return (
        f"Received: from [192.0.2.{number}] (client{number}.example.com. [192.0.2.{number}])\f        by "
        f"smtp.gmail.test with ESMTPSA id {token(rng, 30)}.{number}.{seconds}\f        (version=TLS1_3 "
        f"cipher=TLS_AES_128_GCM_SHA256 bits=128/128);\f        {date_text(seconds + 1, -480)}\n"
    )
