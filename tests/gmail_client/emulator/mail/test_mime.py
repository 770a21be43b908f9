"""Trees of parts: those of Python's `email` package, transfer encodings, broken and deep multiparts."""

from __future__ import annotations

import email
from email.message import Message

import pytest
from support.corpus import CORPUS, needs_corpus
from support.payloads import exercise, shown, text_of, walk

from gmail_client.emulator.mail.content import from_raw
from gmail_client.emulator.mail.mime import MimeEntity, parse

# Where this parser finds more than Python's: a boundary folded over two lines, a Content-Type without the
# semicolon, a transfer encoding with blanks behind it, an attached message in base64, text that calls
# itself base64.
SEEN_OTHERWISE = {
    "stalwart/099": "boundary with a line end inside",
    "stalwart/072": "no semicolon before the boundary",
    "stalwart/085": "message/rfc822 in base64",
    "stalwart/090": "quoted-printable with blanks",
    "enmime/032": "text that is not base64",
    "enmime/033": "no semicolon before the name",
    "enmime/034": "no semicolon before the name",
    "mimekit/003": "boundaries that begin alike",
}


@needs_corpus
@pytest.mark.parametrize("folder", ["cpython", "enmime", "mikel_mail", "mimekit", "stalwart"])
def test_part_trees_are_those_of_pythons_email_package(folder: str) -> None:
    for path in sorted((CORPUS / folder).glob("*.eml")):
        name = f"{folder}/{path.stem}"
        raw = path.read_bytes()
        differences = compare(email.message_from_bytes(raw), parse(raw), name)
        if name in SEEN_OTHERWISE:
            assert differences, f"{name} needs no exception any more"
        else:
            assert differences == []


def compare(theirs: Message, ours: MimeEntity, where: str) -> list[str]:
    found: list[str] = []
    kind = theirs.get_content_type()
    if kind != ours.mime_type:
        found.append(f"{where}: {ours.mime_type}, not {kind}")
    names = [name for name, _ in theirs.raw_items()]
    if names != [name for name, _ in ours.headers]:
        found.append(f"{where}: headers")
    inside = theirs.get_payload()
    if kind == "message/global":
        return found + ([f"{where}: opened"] if ours.children else [])
    if kind == "message/delivery-status":
        # Python parses each block of fields as a message, Gmail all of them as one.
        return found + ([f"{where}: {len(ours.children)} children"] if len(ours.children) != 1 else [])
    if isinstance(inside, list):
        if kind.startswith("message/") and ours.encoding == "base64":
            return [*found, f"{where}: an attached message in base64"]
        if len(inside) != len(ours.children):
            return [*found, f"{where}: {len(ours.children)} children, not {len(inside)}"]
        for number, (their, our) in enumerate(zip(inside, ours.children, strict=True)):
            found += compare(their, our, f"{where}.{number}")
    elif ours.children:
        found.append(f"{where}: children of a leaf")
    elif kind.startswith("text/") and theirs.get_payload(decode=True) != ours.decoded():
        found.append(f"{where}: content")
    return found


@pytest.mark.parametrize(
    ("encoding", "body", "expected"),
    [
        ("quoted-printable", "caf=C3=A9 =\r\nand =ZZ", "café and =ZZ"),
        ("QUOTED-PRINTABLE ", "a=3Db", "a=b"),
        ("base64", "aGVs\r\nbG8=", "hello"),
        ("base64", "aGVsbG8", "hello"),
        ("base64", "aGVs bG8=\r\n-- \r\nfooter", "hello"),
        ("base64", "x", "x"),
        ("x-uuencode", "begin 644 a\n%:&5L;&\\\n`\nend\n", "hello"),
        ("x-uuencode", "no uuencode", "no uuencode"),
        ("8bit", "as it is", "as it is"),
        ("rot26", "unknown", "unknown"),
    ],
)
def test_transfer_encodings(encoding: str, body: str, expected: str) -> None:
    assert text_of(shown(f"Content-Transfer-Encoding: {encoding}\r\n\r\n{body}")) == expected


def test_broken_multiparts() -> None:
    assert text_of(shown("Content-Type: multipart/mixed\r\n\r\nno boundary")) == "no boundary"
    assert text_of(shown("Content-Type: multipart/mixed; boundary=x\r\n\r\nnever")) == "never"
    unclosed = shown("Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\none\r\n--x\r\n\r\ntwo\r\n")
    assert [text_of(part) for part in unclosed["parts"]] == ["one", "two"]
    lookalike = shown(
        "Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\na --x\r\n--xy\r\nb\r\n--x--\r\n"
    )
    assert [text_of(part) for part in lookalike["parts"]] == ["a --x\r\n--xy\r\nb"]
    digest = shown(
        "Content-Type: multipart/digest; boundary=x\r\n\r\n--x\r\n\r\nSubject: in\r\n\r\nhi\r\n--x--"
    )
    assert digest["parts"][0]["mimeType"] == "message/rfc822"
    assert digest["parts"][0]["parts"][0]["headers"] == [{"name": "Subject", "value": "in"}]


def test_nesting_is_bounded_and_fast() -> None:
    raw = b"".join(
        b"Content-Type: multipart/mixed; boundary=%d\r\n\r\n--%d\r\n" % (n, n) for n in range(3000)
    )
    payload = exercise(from_raw(raw))
    assert len(walk(payload)) < 100
    exercise(from_raw(b"Content-Type: message/rfc822\r\n\r\n" * 3000))
    exercise(from_raw(b"X: y\r\n" + b" folded\r\n" * 50_000 + b"\r\nbody"))
    exercise(from_raw(b"Content-Type: text/html\r\n\r\n" + b"<!--<" * 100_000))
    exercise(from_raw(b"Content-Type: multipart/mixed; boundary=x\r\n\r\n" + b"--x\r\n" * 50_000))
