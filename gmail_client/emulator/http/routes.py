"""The routes beside Gmail's own: OAuth, the consent page, the Directory and `/_emulator/`: `make_routes`."""

from __future__ import annotations

from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from gmail_client.emulator.backend import Backend
from gmail_client.emulator.http.admin import ADMIN_ROOT, admin_reply
from gmail_client.emulator.http.directory import directory_reply
from gmail_client.emulator.oauth.consent import AUTH_PATH, DECISION_PATH, Consent, ConsentPage
from gmail_client.emulator.oauth.token_endpoint import OAuthResponse, refusal, revoke_response, token_response

__all__ = ["make_routes"]

_NO_STORE = {"Cache-Control": "no-store"}


def _local(request: Request) -> bool:
    """Whether the Host header names this machine: a web page elsewhere must not reach in by a name of its own."""
    return request.url.hostname in ("127.0.0.1", "localhost", "::1")


async def _form(request: Request) -> dict[str, list[str]]:
    text = (await request.body()).decode("utf-8", "replace")
    return parse_qs(text, keep_blank_values=True)


def _page(page: ConsentPage) -> Response:
    if page.location:
        return RedirectResponse(page.location, status_code=page.status)
    return HTMLResponse(page.html, status_code=page.status, headers=_NO_STORE)


def _oauth(answer: OAuthResponse) -> Response:
    return JSONResponse(answer.body, status_code=answer.status, headers=_NO_STORE)


def make_routes(backend: Backend, url: str) -> list[Route]:
    """The routes over a world that is served at `url`."""
    consent = Consent(backend)

    async def token(request: Request) -> Response:
        fault = backend.faults.next_for("oauth.token")
        if fault is not None and fault.is_error:
            answer = refusal(fault.reason or "internal_failure", fault.message, fault.status)
        else:
            form = {name: values[0] for name, values in (await _form(request)).items()}
            answer = token_response(
                form, backend.tokens, url=url, clock=backend.clock, accounts=backend.account_state
            )
        response = _oauth(answer)
        backend.usage.count("oauth.token", answer.status, 0, len(response.body))
        return response

    async def revoke(request: Request) -> Response:
        token = request.query_params.get("token") or (await _form(request)).get("token", [""])[0]
        return _oauth(revoke_response(token, backend.tokens))

    async def authorize(request: Request) -> Response:
        return _page(consent.show(request.query_params))

    async def decide(request: Request) -> Response:
        form = await _form(request)
        fields = {name: values[0] for name, values in form.items()}
        return _page(consent.decide(fields, form.get("scope", [])))

    async def users(request: Request) -> Response:
        reply = directory_reply(backend, request.url.query, request.headers.get("authorization"))
        return Response(reply.body, reply.status, headers=reply.headers, media_type=reply.content_type)

    async def admin(request: Request) -> Response:
        if not _local(request):
            return JSONResponse({"error": "only for loopback"}, status_code=403)
        action = request.path_params["action"]
        reply = admin_reply(backend, request.method, action, request.url.query, await request.body())
        return Response(reply.body, reply.status, headers=reply.headers, media_type=reply.content_type)

    return [
        Route("/token", token, methods=["POST"]),
        Route("/o/oauth2/token", token, methods=["POST"]),
        Route("/revoke", revoke, methods=["GET", "POST"]),
        Route(AUTH_PATH, authorize, methods=["GET"]),
        Route("/o/oauth2/auth", authorize, methods=["GET"]),
        Route(DECISION_PATH, decide, methods=["POST"]),
        Route("/admin/directory/v1/users", users, methods=["GET"]),
        Route(ADMIN_ROOT + "{action:path}", admin, methods=["GET", "POST"]),
    ]
