"""What mail servers write at the top of a message on its way: Received, DKIM, ARC, authentication results.

As many and as long as they are in a real mailbox, on reserved domains and documentation addresses only.
"""

from __future__ import annotations

import time
from functools import lru_cache
from random import Random

from gmail_client.emulator.writing import tokens

__all__ = ["date_text", "received", "submitted", "token"]

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_SIGNATURES = 128
_LISTED = "to:subject:message-id:date:from:mime-version"


def date_text(seconds: int, offset_minutes: int = 0) -> str:
    """A Date header's value for epoch seconds in a time zone that many minutes east of Greenwich."""
    moment = time.gmtime(seconds + offset_minutes * 60)
    sign, minutes = ("-", -offset_minutes) if offset_minutes < 0 else ("+", offset_minutes)
    return (
        f"{_DAYS[moment.tm_wday]}, {moment.tm_mday:02d} {_MONTHS[moment.tm_mon - 1]} {moment.tm_year} "
        f"{moment.tm_hour:02d}:{moment.tm_min:02d}:{moment.tm_sec:02d} {sign}{minutes // 60:02d}{minutes % 60:02d}"
    )


def token(rng: Random, length: int) -> str:
    """`length` random characters of those that ids are made of (at most 400)."""
    noise = tokens()
    start = int(rng.random() * (len(noise) - 400))
    return noise[start : start + length]


@lru_cache(maxsize=1)
def _signatures() -> list[str]:
    """RSA signatures of 2,048 bits in base64, folded as mail servers fold them."""
    noise = tokens().replace("-", "+").replace("_", "/")
    rng = Random(23)  # noqa: S311
    folded = []
    for _ in range(_SIGNATURES):
        start = int(rng.random() * (len(noise) - 400))
        text = noise[start : start + 342] + "=="
        folded.append("\r\n         ".join(text[cut : cut + 66] for cut in range(0, len(text), 66)))
    return folded


def _signature(rng: Random) -> str:
    return _signatures()[int(rng.random() * _SIGNATURES)]


def received(rng: Random, seconds: int, *, to: str, sender: str, listed: bool) -> str:
    """The header lines that an incoming message has above what its author wrote.

    Args:
        rng: Decides hosts, ids, the number of hops and signatures.
        seconds: When the author sent it, epoch seconds.
        to: The mailbox that it was delivered to.
        sender: The author's address.
        listed: Whether a list or a bulk mailer stands between: one more hop, signature and ARC set.
    """
    domain = sender.rpartition("@")[2] or "example.com"
    pacific = date_text(seconds + 3, -480)
    number = int(rng.random() * 200) + 1
    address = f"203.0.113.{number}"
    host = f"mail-{number}.{domain}"
    bounce = f"bounce+{token(rng, 8)}@{domain}" if listed else sender
    body_hash = token(rng, 43).replace("-", "+").replace("_", "/") + "="
    passed = (
        f"dkim=pass header.i=@{domain} header.s=s1 header.b={token(rng, 8)};\r\n       spf=pass (gmail.test: domain "
        f"of {bounce} designates {address} as permitted sender) smtp.mailfrom={bounce};\r\n       dmarc=pass "
        f"(p=NONE sp=QUARANTINE dis=NONE) header.from={domain}\r\n"
    )
    lines = [
        f"Delivered-To: {to}\r\nReceived: by 2001:db8:{number:x}:4b2::{number:x} with SMTP id {token(rng, 14)}csp"
        f"{number * 7919};\r\n        {pacific}\r\nX-Gm-Smtp-Source: {token(rng, 82)}\r\nX-Received: by "
        f"2001:db8:{number:x}:1f0d:: with SMTP id {token(rng, 34)}.{number}.{seconds};\r\n        {pacific}\r\n"
    ]
    if listed or number <= 150:
        for instance in range(2 if listed and number % 3 == 0 else 1, 0, -1):
            lines.append(
                f"ARC-Seal: i={instance}; a=rsa-sha256; t={seconds}; cv={'pass' if instance > 1 else 'none'};\r\n"
                f"        d=gmail.test; s=arc-20240605;\r\n        b={_signature(rng)}\r\nARC-Message-Signature: "
                f"i={instance}; a=rsa-sha256; c=relaxed/relaxed; d=gmail.test; s=arc-20240605;\r\n        h={_LISTED}"
                f":dkim-signature;\r\n        bh={body_hash};\r\n        b={_signature(rng)}\r\n"
                f"ARC-Authentication-Results: i={instance}; mx.gmail.test;\r\n       {passed}"
            )
    lines.append(
        f"Return-Path: <{bounce}>\r\nReceived: from {host} ({host}. [{address}])\r\n        by mx.gmail.test with "
        f"ESMTPS id {token(rng, 30)}.{number}.{seconds}\r\n        for <{to}>\r\n        (version=TLS1_3 "
        f"cipher=TLS_AES_256_GCM_SHA384 bits=256/256);\r\n        {pacific}\r\nReceived-SPF: pass (gmail.test: "
        f"domain of {bounce} designates {address} as permitted sender) client-ip={address};\r\n"
        f"Authentication-Results: mx.gmail.test;\r\n       {passed}"
    )
    for selector in ("s1", "bulk") if listed else ("s1",):
        lines.append(
            f"DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d={domain}; s={selector};\r\n        t={seconds}; "
            f"x={seconds + 604800}; h={_LISTED};\r\n        bh={body_hash};\r\n        b={_signature(rng)}\r\n"
        )
    sent = date_text(seconds + 1)
    for hop in range(int(rng.random() * 3) + listed):
        lines.append(
            f"Received: from relay{hop}.{domain} (relay{hop}.{domain} [198.51.100.{number}])\r\n\tby {host} (Postfix) "
            f"with ESMTPS id {token(rng, 11)}\r\n\tfor <{to}>; {sent} (UTC)\r\n"
        )
    return "".join(lines)


def submitted(rng: Random, seconds: int) -> str:
    """The header lines of the one hop that mail sent from this account has."""
    number = int(rng.random() * 200) + 1
    return (
        f"Received: from [192.0.2.{number}] (client{number}.example.com. [192.0.2.{number}])\r\n        by "
        f"smtp.gmail.test with ESMTPSA id {token(rng, 30)}.{number}.{seconds}\r\n        (version=TLS1_3 "
        f"cipher=TLS_AES_128_GCM_SHA256 bits=128/128);\r\n        {date_text(seconds + 1, -480)}\r\n"
    )
