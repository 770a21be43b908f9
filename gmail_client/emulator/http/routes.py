"""The routes that are not part of the Gmail API (OAuth, IAM, discovery, Directory, `/_emulator/`): `make_routes`."""

from __future__ import annotations

from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gmail_client.emulator.api.discovery import discovery_document
from gmail_client.emulator.api.errors import ApiError
from gmail_client.emulator.backend import Backend, DirectoryUser
from gmail_client.emulator.http.admin import ADMIN_ROOT, admin_reply
from gmail_client.emulator.http.calls import ServerReply
from gmail_client.emulator.http.directory import members_reply, users_reply
from gmail_client.emulator.http.gateway import error_reply
from gmail_client.emulator.http.origin_check import refusal
from gmail_client.emulator.mailbox.render import to_json
from gmail_client.emulator.oauth.consent import AUTH_PATH, DECISION_PATH, Consent
from gmail_client.emulator.oauth.iam import SIGN_JWT, exchange_identity, sign_jwt
from gmail_client.emulator.oauth.token_endpoint import (
    OAuthResponse,
    oauth_error,
    revoke_response,
    token_info,
    token_response,
)

__all__ = ["make_routes"]


def make_routes(backend: Backend, url: str) -> list[Route]:
    """The routes of a backend that is served at `url`."""
    consent = Consent(backend)
    document = discovery_document(url)

    async def token(request: Request) -> Response:
        fault = backend.faults.next_for("oauth.token")
        if fault is not None and fault.is_error:
            answer = oauth_error(fault.reason or "internal_failure", fault.message, fault.status)
        else:
            form = {name: values[0] for name, values in (await _form(request)).items()}
            answer = token_response(
                form, backend.tokens, url=url, clock=backend.clock, accounts=backend.account_state
            )
        response = _oauth(answer)
        backend.usage.count("oauth.token", answer.status, 0, len(response.body))
        return response

    async def tokeninfo(request: Request) -> Response:
        return _oauth(
            token_info(
                await _field(request, "access_token"),
                backend.tokens,
                clock=backend.clock,
                user_id=lambda address: DirectoryUser(address).id,
            )
        )

    async def revoke(request: Request) -> Response:
        return _oauth(revoke_response(await _field(request, "token"), backend.tokens))

    async def authorize(request: Request) -> Response:
        return consent.show(request.query_params)

    async def decide(request: Request) -> Response:
        form = await _form(request)
        fields = {name: values[0] for name, values in form.items()}
        return consent.decide(fields, form.get("scope", []))

    async def discovery(request: Request) -> Response:
        version = request.query_params.get("version", "v1")
        return JSONResponse(document) if version == "v1" else Response(status_code=404)

    async def users(request: Request) -> Response:
        return _response(users_reply(backend, request.url.query, request.headers.get("authorization")))

    async def members(request: Request) -> Response:
        group, authorization = request.path_params["group"], request.headers.get("authorization")
        return _response(members_reply(backend, group, request.url.query, authorization))

    async def sign(request: Request) -> Response:
        try:
            fault = backend.faults.next_for(SIGN_JWT)
            if fault is not None and fault.is_error:
                raise fault.error()
            email, body = request.path_params["email"], await request.body()
            answer = sign_jwt(backend.tokens, email, request.headers.get("authorization"), body)
            reply = ServerReply(200, to_json(answer))
        except ApiError as error:
            reply = error_reply(error)
        backend.usage.count(SIGN_JWT, reply.status, 0, len(reply.body))
        return _response(reply)

    async def security_token(request: Request) -> Response:
        form = {name: values[0] for name, values in (await _form(request)).items()}
        answer = _oauth(exchange_identity(form, backend.tokens))
        backend.usage.count("sts.token", answer.status_code, 0, len(answer.body))
        return answer

    async def admin(request: Request) -> Response:
        if (refused := refusal(request)) is not None:
            return JSONResponse({"error": refused[1]}, status_code=refused[0])
        action = request.path_params["action"]
        return _response(
            admin_reply(backend, request.method, action, request.url.query, await request.body())
        )

    return [
        Route("/token", token, methods=["POST"]),
        Route("/o/oauth2/token", token, methods=["POST"]),
        Route("/tokeninfo", tokeninfo, methods=["GET", "POST"]),
        Route("/oauth2/v3/tokeninfo", tokeninfo, methods=["GET", "POST"]),
        Route("/revoke", revoke, methods=["GET", "POST"]),
        Route(AUTH_PATH, authorize, methods=["GET"]),
        Route("/o/oauth2/auth", authorize, methods=["GET"]),
        Route(DECISION_PATH, decide, methods=["POST"]),
        Route("/discovery/v1/apis/gmail/v1/rest", discovery, methods=["GET"]),
        Route("/$discovery/rest", discovery, methods=["GET"]),
        Route("/admin/directory/v1/users", users, methods=["GET"]),
        Route("/admin/directory/v1/groups/{group}/members", members, methods=["GET"]),
        Route("/v1/projects/-/serviceAccounts/{email}:signJwt", sign, methods=["POST"]),
        Route("/v1/token", security_token, methods=["POST"]),
        Route(ADMIN_ROOT + "{action:path}", admin, methods=["GET", "POST"]),
    ]


async def _form(request: Request) -> dict[str, list[str]]:
    text = (await request.body()).decode("utf-8", "replace")
    return parse_qs(text, keep_blank_values=True)


async def _field(request: Request, name: str) -> str:
    """A field of the query, else of the form."""
    return request.query_params.get(name) or (await _form(request)).get(name, [""])[0]


def _oauth(answer: OAuthResponse) -> Response:
    return JSONResponse(answer.body, status_code=answer.status, headers={"Cache-Control": "no-store"})


def _response(reply: ServerReply) -> Response:
    return Response(reply.body, reply.status, headers=reply.headers, media_type=reply.content_type)
