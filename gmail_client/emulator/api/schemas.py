"""The schemas of the API as data: `SCHEMAS`, and `check`, which validates a request body.

The type of a field is "string", "boolean", "int32", "uint32", "uint64", "int64" or "byte" (base64url), the name of
another schema, or either with `[]` for an array. Source: the discovery document; a test compares them.
"""

from __future__ import annotations

import re
from typing import Any

from gmail_client.emulator.api.errors import bad_body

__all__ = ["ENUMS", "SCHEMAS", "check"]

SCHEMAS: dict[str, dict[str, str]] = {
    "AutoForwarding": {"disposition": "string", "emailAddress": "string", "enabled": "boolean"},
    "BatchDeleteMessagesRequest": {"ids": "string[]"},
    "BatchModifyMessagesRequest": {
        "addClassificationLabels": "ClassificationLabelValue[]",
        "addLabelIds": "string[]",
        "ids": "string[]",
        "removeClassificationLabelIds": "string[]",
        "removeLabelIds": "string[]",
    },
    "ClassificationLabelFieldValue": {"fieldId": "string", "selection": "string"},
    "ClassificationLabelValue": {"fields": "ClassificationLabelFieldValue[]", "labelId": "string"},
    "Delegate": {"delegateEmail": "string", "verificationStatus": "string"},
    "Draft": {"id": "string", "message": "Message"},
    "Filter": {"action": "FilterAction", "criteria": "FilterCriteria", "id": "string"},
    "FilterAction": {"addLabelIds": "string[]", "forward": "string", "removeLabelIds": "string[]"},
    "FilterCriteria": {
        "excludeChats": "boolean",
        "from": "string",
        "hasAttachment": "boolean",
        "negatedQuery": "string",
        "query": "string",
        "size": "int32",
        "sizeComparison": "string",
        "subject": "string",
        "to": "string",
    },
    "ForwardingAddress": {"forwardingEmail": "string", "verificationStatus": "string"},
    "History": {
        "id": "uint64",
        "labelsAdded": "HistoryLabelAdded[]",
        "labelsRemoved": "HistoryLabelRemoved[]",
        "messages": "Message[]",
        "messagesAdded": "HistoryMessageAdded[]",
        "messagesDeleted": "HistoryMessageDeleted[]",
    },
    "HistoryLabelAdded": {"labelIds": "string[]", "message": "Message"},
    "HistoryLabelRemoved": {"labelIds": "string[]", "message": "Message"},
    "HistoryMessageAdded": {"message": "Message"},
    "HistoryMessageDeleted": {"message": "Message"},
    "ImapSettings": {
        "autoExpunge": "boolean",
        "enabled": "boolean",
        "expungeBehavior": "string",
        "maxFolderSize": "int32",
    },
    "Label": {
        "color": "LabelColor",
        "id": "string",
        "labelListVisibility": "string",
        "messageListVisibility": "string",
        "messagesTotal": "int32",
        "messagesUnread": "int32",
        "name": "string",
        "threadsTotal": "int32",
        "threadsUnread": "int32",
        "type": "string",
    },
    "LabelColor": {"backgroundColor": "string", "textColor": "string"},
    "LanguageSettings": {"displayLanguage": "string"},
    "ListDelegatesResponse": {"delegates": "Delegate[]"},
    "ListDraftsResponse": {
        "drafts": "Draft[]",
        "nextPageToken": "string",
        "resultSizeEstimate": "uint32",
    },
    "ListFiltersResponse": {"filter": "Filter[]"},
    "ListForwardingAddressesResponse": {"forwardingAddresses": "ForwardingAddress[]"},
    "ListHistoryResponse": {"history": "History[]", "historyId": "uint64", "nextPageToken": "string"},
    "ListLabelsResponse": {"labels": "Label[]"},
    "ListMessagesResponse": {
        "messages": "Message[]",
        "nextPageToken": "string",
        "resultSizeEstimate": "uint32",
    },
    "ListSendAsResponse": {"sendAs": "SendAs[]"},
    "ListThreadsResponse": {
        "nextPageToken": "string",
        "resultSizeEstimate": "uint32",
        "threads": "Thread[]",
    },
    "Message": {
        "classificationLabelValues": "ClassificationLabelValue[]",
        "historyId": "uint64",
        "id": "string",
        "internalDate": "int64",
        "labelIds": "string[]",
        "payload": "MessagePart",
        "raw": "byte",
        "sizeEstimate": "int32",
        "snippet": "string",
        "threadId": "string",
    },
    "MessagePart": {
        "body": "MessagePartBody",
        "filename": "string",
        "headers": "MessagePartHeader[]",
        "mimeType": "string",
        "partId": "string",
        "parts": "MessagePart[]",
    },
    "MessagePartBody": {"attachmentId": "string", "data": "byte", "size": "int32"},
    "MessagePartHeader": {"name": "string", "value": "string"},
    "ModifyMessageRequest": {
        "addClassificationLabels": "ClassificationLabelValue[]",
        "addLabelIds": "string[]",
        "removeClassificationLabelIds": "string[]",
        "removeLabelIds": "string[]",
    },
    "ModifyThreadRequest": {"addLabelIds": "string[]", "removeLabelIds": "string[]"},
    "PopSettings": {"accessWindow": "string", "disposition": "string"},
    "Profile": {
        "emailAddress": "string",
        "historyId": "uint64",
        "messagesTotal": "int32",
        "threadsTotal": "int32",
    },
    "SendAs": {
        "displayName": "string",
        "isDefault": "boolean",
        "isPrimary": "boolean",
        "replyToAddress": "string",
        "sendAsEmail": "string",
        "signature": "string",
        "smtpMsa": "SmtpMsa",
        "treatAsAlias": "boolean",
        "verificationStatus": "string",
    },
    "SmtpMsa": {
        "host": "string",
        "password": "string",
        "port": "int32",
        "securityMode": "string",
        "username": "string",
    },
    "Thread": {"historyId": "uint64", "id": "string", "messages": "Message[]", "snippet": "string"},
    "VacationSettings": {
        "enableAutoReply": "boolean",
        "endTime": "int64",
        "responseBodyHtml": "string",
        "responseBodyPlainText": "string",
        "responseSubject": "string",
        "restrictToContacts": "boolean",
        "restrictToDomain": "boolean",
        "startTime": "int64",
    },
}

ENUMS: dict[tuple[str, str], tuple[str, ...]] = {
    ("AutoForwarding", "disposition"): (
        "dispositionUnspecified",
        "leaveInInbox",
        "archive",
        "trash",
        "markRead",
    ),
    ("Delegate", "verificationStatus"): (
        "verificationStatusUnspecified",
        "accepted",
        "pending",
        "rejected",
        "expired",
    ),
    ("FilterCriteria", "sizeComparison"): ("unspecified", "smaller", "larger"),
    ("ForwardingAddress", "verificationStatus"): (
        "verificationStatusUnspecified",
        "accepted",
        "pending",
    ),
    ("ImapSettings", "expungeBehavior"): (
        "expungeBehaviorUnspecified",
        "archive",
        "trash",
        "deleteForever",
    ),
    ("Label", "labelListVisibility"): ("labelShow", "labelShowIfUnread", "labelHide"),
    ("Label", "messageListVisibility"): ("show", "hide"),
    ("Label", "type"): ("system", "user"),
    ("PopSettings", "accessWindow"): ("accessWindowUnspecified", "disabled", "fromNowOn", "allMail"),
    ("PopSettings", "disposition"): (
        "dispositionUnspecified",
        "leaveInInbox",
        "archive",
        "trash",
        "markRead",
    ),
    ("SendAs", "verificationStatus"): ("verificationStatusUnspecified", "accepted", "pending"),
    ("SmtpMsa", "securityMode"): ("securityModeUnspecified", "none", "ssl", "starttls"),
}


def check(schema: str, value: object, path: str = "") -> dict[str, Any]:
    """The body without its nulls, if it matches the schema.

    Raises:
        ApiError: 400 with the name of the field, in Google's words.
    """
    if not isinstance(value, dict):
        raise bad_body(f"Invalid value at '{path or schema}' (type.googleapis.com/{schema}), {value!r}", path)
    fields = SCHEMAS[schema]
    fitting: dict[str, Any] = {}
    for name, content in value.items():
        kind = fields.get(name)
        if kind is None:
            at = f" at '{path}'" if path else ""
            raise bad_body(
                f'Invalid JSON payload received. Unknown name "{name}"{at}: Cannot find field.', path
            )
        if content is None:
            continue
        where = f"{path}.{name}" if path else name
        if kind.endswith("[]"):
            if not isinstance(content, list):
                raise bad_body(f"Invalid value at '{where}', expected an array", where)
            fitting[name] = [
                _checked(kind[:-2], item, f"{where}[{index}]", schema, name)
                for index, item in enumerate(content)
            ]
        else:
            fitting[name] = _checked(kind, content, where, schema, name)
    return fitting


_SURROGATE = re.compile("[\ud800-\udfff]")
_RANGES = {
    "int32": (-(2**31), 2**31 - 1),
    "uint32": (0, 2**32 - 1),
    "int64": (-(2**63), 2**63 - 1),
    "uint64": (0, 2**64 - 1),
}


def _checked(kind: str, value: object, where: str, schema: str, name: str) -> object:
    if kind in SCHEMAS:
        return check(kind, value, where)
    wrong = bad_body(f"Invalid value at '{where}' (TYPE_{kind.upper()}), {value!r}", where)
    if kind in _RANGES:
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise wrong
        try:
            number = int(value)
        except ValueError:
            raise wrong from None
        low, high = _RANGES[kind]
        if not low <= number <= high:
            raise wrong
        return number if kind.endswith("32") else str(number)
    if kind == "boolean":
        if not isinstance(value, bool):
            raise wrong
        return value
    if not isinstance(value, str) or _SURROGATE.search(value):
        raise wrong
    choices = ENUMS.get((schema, name))
    if choices and value not in choices:
        raise wrong
    return value
