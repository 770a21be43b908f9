"""Errors reach Spark with two frames of our code at most, and in the words of a connection."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.lakeflow import options_of
from support.memory_gmail import MemoryGmail
from support.streams import MAILBOXES, READERS

from gmail_client.api import ApiCall, ApiResult
from gmail_client.emulator import Emulator
from gmail_client.errors import CredentialsError, GmailError, IncompleteReadError, ResponseError
from lakeflow_entry.connector import GmailLakeflowConnect
from lakeflow_entry.datasource import GmailDataSource
from lakeflow_entry.plain_errors import plain, plain_errors

CONNECTION = {"client_id": "id", "client_secret": "secret", "refresh_token": "token"}


def text_of(action: Callable[[], Any]) -> str:
    """What Spark's worker sends: the error with its traceback."""
    with pytest.raises(GmailError) as caught:
        action()
    text = "".join(traceback.format_exception(caught.value))
    assert (
        text.count("/gmail_client/") + text.count("/lakeflow_entry/") - text.count("/tests/lakeflow_entry/")
        <= 2
    )
    assert "During handling" not in text
    assert "direct cause" not in text
    return text


def test_a_revoked_token_is_shown_without_frames_and_with_a_fix_for_a_connection() -> None:
    with Emulator(messages=3) as gmail:
        options = {**options_of(gmail), "refresh_token": "1//revoked", "tablename": "messages"}
        source = GmailDataSource(options)
        reader: Any = source.streamReader(source.schema())
        batch: Any = source.reader(source.schema())
        framework = GmailLakeflowConnect(options)
        for action in (
            lambda: reader.latestOffset({}, None),
            lambda: list(batch.read(batch.partitions()[0])),
            lambda: framework.read_table("messages", {}, {}),
            lambda: framework.read_table_deletes("messages", {}, {}),
            lambda: list(framework.read_table("labels", None, {})[0]),
        ):
            text = text_of(action)
            assert "No access token" in text
            assert "\nFix: Sign in to the connection again, or give it a new refresh_token" in text
            assert "GMAIL_" not in text
            assert "1//revoked" not in text


def test_an_invalid_option_is_shown_without_frames() -> None:
    wrong = {**CONNECTION, "tablename": "messages", "labelid": "INBOX"}
    assert "Did you mean 'labelIds'?" in text_of(lambda: GmailDataSource(wrong).schema())
    connector = GmailLakeflowConnect(CONNECTION)
    text_of(lambda: connector.get_table_schema("mail", {}))
    text_of(lambda: connector.read_table_metadata("labels", {"q": "x"}))
    text_of(lambda: GmailLakeflowConnect({"client_id": "id", "client_secret": "x", "refresh_token": " "}))


class Refusing(MemoryGmail):
    """A mailbox that refuses every message."""

    def get_many(self, calls: Any, **options: Any) -> Iterator[ApiResult]:
        for call in calls:
            assert isinstance(call, ApiCall)
            error = ResponseError(f"messages.get: {call.key} is broken.", fix="Set skip_refused.")
            yield ApiResult(call, None, error, 0)


@pytest.mark.usefixtures("gmail_in_memory")
@pytest.mark.parametrize("reader", READERS)
def test_a_refused_message_is_shown_without_frames(reader: str) -> None:
    MAILBOXES["id"] = Refusing(4)
    stream = READERS[reader](
        {**CONNECTION, "tablename": "messages", "isdeleteflow": "false", "format": "minimal"}
    )
    end = stream.latest({})
    assert "is broken.\nFix: Set skip_refused." in text_of(lambda: list(stream.rows({}, end)))


def test_internal_errors_and_those_of_other_code_keep_their_frames() -> None:
    @plain_errors
    def fail(error: Exception) -> None:
        raise error

    for error in (IncompleteReadError("Internal error."), KeyError("x")):
        with pytest.raises(type(error)) as caught:
            fail(error)
        assert "in fail" in "".join(traceback.format_exception(caught.value))


def test_a_login_on_the_command_line_is_a_sign_in_to_the_connection() -> None:
    fixes = [
        plain(CredentialsError("x", fix=fix)).fix
        for fix in (
            "Get new credentials: run `gmail-assets login`, or set a new GMAIL_ACCESS_TOKEN.",
            "Set GMAIL_CLIENT_ID to the client that the token was issued to, or: Run `gmail-assets login` again.",
            "Wait.",
        )
    ]
    assert [fix.count("ign in to the connection") for fix in fixes] == [1, 1, 0]
    assert not any("GMAIL_" in fix or "Run" in fix for fix in fixes)
