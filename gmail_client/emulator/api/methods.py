"""The methods that the emulator offers, as data: `METHODS`, by the name after `gmail.users.`.

Each has a verb, path, parameters, scopes, schemas of request and response, upload, and the price in quota units under
the current and the legacy plan. Source: Google's discovery document (a test compares them) and quota page. The current
prices of reads apply since May 2026.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["METHODS", "SCOPES", "STANDARD_PARAMETERS", "Method", "Parameter"]

ParameterKind = Literal["string", "boolean", "uint32", "uint64"]

_AUTH = "https://www.googleapis.com/auth/"
_SHORT = {
    "full": "https://mail.google.com/",
    "directory": _AUTH + "admin.directory.user.readonly",
    "groups": _AUTH + "admin.directory.group.member.readonly",
}


def _scopes(words: str) -> tuple[str, ...]:
    return tuple(_SHORT.get(word, f"{_AUTH}gmail.{word}") for word in words.split())


_READ = _scopes("full modify readonly")
_READ_META = _scopes("full metadata modify readonly")
_READ_DRAFTS = _scopes("compose full modify readonly")
_PROFILE = _scopes("compose full metadata modify readonly")
_ADDON_READ = "addons.current.message.action addons.current.message.readonly"
_READ_MAIL = _scopes(f"addons.current.message.metadata {_ADDON_READ} full metadata modify readonly")
_READ_FILES = _scopes(f"{_ADDON_READ} full modify readonly")
_READ_LABELS = _scopes("full labels metadata modify readonly")
_READ_SETTINGS = _scopes("full modify readonly settings.basic")
_MODIFY = _scopes("full modify")
_LABELS = _scopes("full labels modify")
_COMPOSE = _scopes("addons.current.action.compose compose full modify")
_SEND = _scopes("addons.current.action.compose compose full modify send")
_INSERT = _scopes("full insert modify")
_FULL = _scopes("full")
_BASIC = _scopes("settings.basic")
_SHARING = _scopes("settings.sharing")
_BASIC_SHARING = _scopes("settings.basic settings.sharing")


@dataclass(frozen=True, slots=True)
class Parameter:
    """A query parameter.

    Attributes:
        name: As in the URL.
        kind: Type of its value.
        repeated: It can be given several times.
        choices: The values of an enumeration; empty for free text.
        default: The default value, as text.
    """

    name: str
    kind: ParameterKind = "string"
    repeated: bool = False
    choices: tuple[str, ...] = ()
    default: str | None = None


@dataclass(frozen=True, slots=True)
class Method:
    """A method of the API.

    Attributes:
        name: Its id without `gmail.users.`.
        verb: HTTP method.
        path: Below `/gmail/v1/users/{userId}/`.
        parameters: The query parameters.
        scopes: Scopes, each sufficient.
        request: Schema of the request body; None when it has none.
        response: Schema of the response; None when it is empty.
        units: Price under the current plan.
        legacy_units: Price under the legacy plan.
        upload: Largest media upload in bytes; 0 without media upload.
    """

    name: str
    verb: str
    path: str
    parameters: tuple[Parameter, ...]
    scopes: tuple[str, ...]
    request: str | None
    response: str | None
    units: int
    legacy_units: int
    upload: int = 0


STANDARD_PARAMETERS: dict[str, Parameter] = {
    parameter.name: parameter
    for parameter in (
        Parameter("$.xgafv", choices=("1", "2")),
        Parameter("access_token"),
        Parameter("alt", choices=("json", "media", "proto"), default="json"),
        Parameter("callback"),
        Parameter("fields"),
        Parameter("key"),
        Parameter("oauth_token"),
        Parameter("prettyPrint", "boolean", default="true"),
        Parameter("quotaUser"),
        Parameter("uploadType"),
        Parameter("upload_protocol"),
    )
}

_PAGING = (Parameter("maxResults", "uint32", default="100"), Parameter("pageToken"))
_SPAM_TRASH = Parameter("includeSpamTrash", "boolean", default="false")
_LISTING = (_SPAM_TRASH, Parameter("labelIds", repeated=True), *_PAGING, Parameter("q"))
_DRAFT_LISTING = (_SPAM_TRASH, *_PAGING, Parameter("q"))
_FORMATS = ("minimal", "full", "raw", "metadata")
_FORMAT = Parameter("format", choices=_FORMATS, default="full")
_THREAD_FORMAT = Parameter("format", choices=("full", "metadata", "minimal"), default="full")
_HEADERS = Parameter("metadataHeaders", repeated=True)
_HISTORY_TYPES = Parameter(
    "historyTypes",
    repeated=True,
    choices=("messageAdded", "messageDeleted", "labelAdded", "labelRemoved"),
)
_HISTORY = (_HISTORY_TYPES, Parameter("labelId"), *_PAGING, Parameter("startHistoryId", "uint64"))
_DATE_CHOICES = ("receivedTime", "dateHeader")
_DELETED = Parameter("deleted", "boolean", default="false")
_INSERTING = (_DELETED, Parameter("internalDateSource", choices=_DATE_CHOICES, default="receivedTime"))
_IMPORTING = (
    _DELETED,
    Parameter("internalDateSource", choices=_DATE_CHOICES, default="dateHeader"),
    Parameter("neverMarkSpam", "boolean", default="false"),
    Parameter("processForCalendar", "boolean", default="false"),
)
_MAIL = 36_700_160
_ARCHIVE = 157_286_400


def _get(
    name: str,
    path: str,
    parameters: tuple[Parameter, ...],
    scopes: tuple[str, ...],
    response: str,
    units: int = 1,
    legacy_units: int | None = None,
) -> Method:
    legacy = units if legacy_units is None else legacy_units
    return Method(name, "GET", path, parameters, scopes, None, response, units, legacy)


def _write(
    name: str,
    verb: str,
    path: str,
    scopes: tuple[str, ...],
    request: str | None,
    response: str | None,
    units: int,
    *,
    parameters: tuple[Parameter, ...] = (),
    upload: int = 0,
) -> Method:
    return Method(name, verb, path, parameters, scopes, request, response, units, units, upload)


def _setting(part: str, schema: str, scopes: tuple[str, ...] = _BASIC) -> tuple[Method, Method]:
    path = f"settings/{part[0].lower()}{part[1:]}"
    return (
        _get(f"settings.get{part}", path, (), _READ_SETTINGS, schema),
        _write(f"settings.update{part}", "PUT", path, scopes, schema, schema, 5),
    )


_ALL = (
    _get("getProfile", "profile", (), _PROFILE, "Profile"),
    _get("messages.list", "messages", _LISTING, _READ_META, "ListMessagesResponse", 5),
    _get("messages.get", "messages/{id}", (_FORMAT, _HEADERS), _READ_MAIL, "Message", 20, 5),
    _get(
        "messages.attachments.get",
        "messages/{messageId}/attachments/{id}",
        (),
        _READ_FILES,
        "MessagePartBody",
        20,
        5,
    ),
    _get("threads.list", "threads", _LISTING, _READ_META, "ListThreadsResponse", 10),
    _get("threads.get", "threads/{id}", (_THREAD_FORMAT, _HEADERS), _READ_MAIL, "Thread", 40, 10),
    _get("drafts.list", "drafts", _DRAFT_LISTING, _READ_DRAFTS, "ListDraftsResponse", 5),
    _get("drafts.get", "drafts/{id}", (_FORMAT,), _READ_DRAFTS, "Draft", 20, 5),
    _get("history.list", "history", _HISTORY, _READ_META, "ListHistoryResponse", 2),
    _get("labels.list", "labels", (), _READ_LABELS, "ListLabelsResponse"),
    _get("labels.get", "labels/{id}", (), _READ_LABELS, "Label"),
    _write(
        "messages.insert",
        "POST",
        "messages",
        _INSERT,
        "Message",
        "Message",
        25,
        parameters=_INSERTING,
        upload=_ARCHIVE,
    ),
    _write(
        "messages.import",
        "POST",
        "messages/import",
        _INSERT,
        "Message",
        "Message",
        25,
        parameters=_IMPORTING,
        upload=_ARCHIVE,
    ),
    _write("messages.send", "POST", "messages/send", _SEND, "Message", "Message", 100, upload=_MAIL),
    _write("messages.modify", "POST", "messages/{id}/modify", _MODIFY, "ModifyMessageRequest", "Message", 5),
    _write(
        "messages.batchModify",
        "POST",
        "messages/batchModify",
        _MODIFY,
        "BatchModifyMessagesRequest",
        None,
        50,
    ),
    _write(
        "messages.batchDelete",
        "POST",
        "messages/batchDelete",
        _FULL,
        "BatchDeleteMessagesRequest",
        None,
        50,
    ),
    _write("messages.trash", "POST", "messages/{id}/trash", _MODIFY, None, "Message", 5),
    _write("messages.untrash", "POST", "messages/{id}/untrash", _MODIFY, None, "Message", 5),
    _write("messages.delete", "DELETE", "messages/{id}", _FULL, None, None, 10),
    _write("threads.modify", "POST", "threads/{id}/modify", _MODIFY, "ModifyThreadRequest", "Thread", 10),
    _write("threads.trash", "POST", "threads/{id}/trash", _MODIFY, None, "Thread", 10),
    _write("threads.untrash", "POST", "threads/{id}/untrash", _MODIFY, None, "Thread", 10),
    _write("threads.delete", "DELETE", "threads/{id}", _FULL, None, None, 20),
    _write("drafts.create", "POST", "drafts", _COMPOSE, "Draft", "Draft", 10, upload=_MAIL),
    _write("drafts.update", "PUT", "drafts/{id}", _COMPOSE, "Draft", "Draft", 15, upload=_MAIL),
    _write("drafts.send", "POST", "drafts/send", _COMPOSE, "Draft", "Message", 100, upload=_MAIL),
    _write("drafts.delete", "DELETE", "drafts/{id}", _COMPOSE, None, None, 10),
    _write("labels.create", "POST", "labels", _LABELS, "Label", "Label", 5),
    _write("labels.update", "PUT", "labels/{id}", _LABELS, "Label", "Label", 5),
    _write("labels.patch", "PATCH", "labels/{id}", _LABELS, "Label", "Label", 5),
    _write("labels.delete", "DELETE", "labels/{id}", _LABELS, None, None, 5),
    *_setting("AutoForwarding", "AutoForwarding", _SHARING),
    *_setting("Imap", "ImapSettings"),
    *_setting("Pop", "PopSettings"),
    *_setting("Language", "LanguageSettings"),
    *_setting("Vacation", "VacationSettings"),
    _get("settings.filters.list", "settings/filters", (), _READ_SETTINGS, "ListFiltersResponse"),
    _get("settings.filters.get", "settings/filters/{id}", (), _READ_SETTINGS, "Filter"),
    _write("settings.filters.create", "POST", "settings/filters", _BASIC, "Filter", "Filter", 5),
    _write("settings.filters.delete", "DELETE", "settings/filters/{id}", _BASIC, None, None, 5),
    _get(
        "settings.forwardingAddresses.list",
        "settings/forwardingAddresses",
        (),
        _READ_SETTINGS,
        "ListForwardingAddressesResponse",
    ),
    _get(
        "settings.forwardingAddresses.get",
        "settings/forwardingAddresses/{forwardingEmail}",
        (),
        _READ_SETTINGS,
        "ForwardingAddress",
    ),
    _write(
        "settings.forwardingAddresses.create",
        "POST",
        "settings/forwardingAddresses",
        _SHARING,
        "ForwardingAddress",
        "ForwardingAddress",
        100,
    ),
    _write(
        "settings.forwardingAddresses.delete",
        "DELETE",
        "settings/forwardingAddresses/{forwardingEmail}",
        _SHARING,
        None,
        None,
        5,
    ),
    _get("settings.sendAs.list", "settings/sendAs", (), _READ_SETTINGS, "ListSendAsResponse"),
    _get("settings.sendAs.get", "settings/sendAs/{sendAsEmail}", (), _READ_SETTINGS, "SendAs"),
    _write("settings.sendAs.create", "POST", "settings/sendAs", _SHARING, "SendAs", "SendAs", 100),
    _write(
        "settings.sendAs.update",
        "PUT",
        "settings/sendAs/{sendAsEmail}",
        _BASIC_SHARING,
        "SendAs",
        "SendAs",
        100,
    ),
    _write(
        "settings.sendAs.patch",
        "PATCH",
        "settings/sendAs/{sendAsEmail}",
        _BASIC_SHARING,
        "SendAs",
        "SendAs",
        100,
    ),
    _write("settings.sendAs.delete", "DELETE", "settings/sendAs/{sendAsEmail}", _SHARING, None, None, 5),
    _write(
        "settings.sendAs.verify",
        "POST",
        "settings/sendAs/{sendAsEmail}/verify",
        _SHARING,
        None,
        None,
        100,
    ),
    _get("settings.delegates.list", "settings/delegates", (), _READ_SETTINGS, "ListDelegatesResponse"),
    _get("settings.delegates.get", "settings/delegates/{delegateEmail}", (), _READ_SETTINGS, "Delegate"),
    _write("settings.delegates.create", "POST", "settings/delegates", _SHARING, "Delegate", "Delegate", 100),
    _write(
        "settings.delegates.delete",
        "DELETE",
        "settings/delegates/{delegateEmail}",
        _SHARING,
        None,
        None,
        5,
    ),
)

METHODS: dict[str, Method] = {method.name: method for method in _ALL}

SCOPES: frozenset[str] = frozenset(
    {scope for method in _ALL for scope in method.scopes}
    | {_SHORT["directory"], _SHORT["groups"], _AUTH + "userinfo.email", _AUTH + "userinfo.profile"}
    | {"openid", "email", "profile"}
)
