"""Refuses requests of web pages to the emulator's own routes: `refusal`.

A page of any site can send requests to a port of this machine. The emulator can serve a user's own mail (`--mbox`), and
its admin routes change and reveal it. So requests of other pages are refused: by Origin and Sec-Fetch-Site, which
browsers set and pages can't change, and by the content type of a body, which a page can't set to JSON without a
preflight request. `EmulatorApp` refuses foreign Host headers before that.
"""

from __future__ import annotations

from starlette.requests import Request

__all__ = ["refusal"]


def refusal(request: Request) -> tuple[int, str] | None:
    """The HTTP status and message of a refused request; None if the request is accepted."""
    origin = request.headers.get("origin")
    if origin is not None and origin != f"{request.url.scheme}://{request.url.netloc}":
        return 403, "The request comes from a web page of another origin."
    if request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        return 403, "The request comes from a web page of another site."
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if request.method not in ("GET", "HEAD") and content_type != "application/json":
        return 415, "The content type is not application/json."
    return None
