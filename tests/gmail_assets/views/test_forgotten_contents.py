"""Contents that only a forgotten mailbox or message has are erased; the other mailboxes keep theirs."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.contents import GET, PDF, PNG, Contents
from support.lake import stored_rows

from gmail_assets.delta.forgotten import forget
from gmail_assets.delta.lake import Lake
from gmail_assets.operations.forget import forget_mailbox, forget_messages
from gmail_client.emulator import Emulator
from gmail_client.errors import ConfigurationError
from gmail_client.views import CONTENTS, LINKS


@pytest.mark.slow
def test_what_a_forgotten_mailbox_fetched_is_fetched_again_for_the_others(
    gmail: Emulator, contents: Contents
) -> None:
    ada, ben = gmail.addresses
    contents.run(ada)
    contents.run(ben)
    forget_mailbox(contents.lake, ada)
    assert stored_rows(contents.lake, CONTENTS, ada) == stored_rows(contents.lake, LINKS, ada) == []
    assert not list(Path(contents.lake.uri).glob(f"*/mailbox={ada.replace('@', '%40')}"))
    _, calls = contents.run(ben)
    assert calls == 3
    contents.check(ben)


def test_a_forgotten_message_takes_the_contents_that_it_alone_has(
    gmail: Emulator, contents: Contents
) -> None:
    address = gmail.addresses[0]
    contents.run()
    message_id = next(
        row["message_id"]
        for row in stored_rows(contents.lake, "emails", address)
        if row["subject"] == "Mail 1"
    )
    result = forget_messages(contents.lake, address, [message_id])
    assert (result.rows[LINKS], result.rows[CONTENTS]) == (2, 1)
    held = [row["content"] for row in stored_rows(contents.lake, CONTENTS)]
    assert PDF in held
    assert PNG not in held
    assert message_id not in {row["message_id"] for row in stored_rows(contents.lake, LINKS)}


@pytest.mark.slow
@pytest.mark.parametrize("whole", [True, False])
def test_contents_that_were_stored_for_another_mailbox_are_erased_with_their_last_link(
    gmail: Emulator, contents: Contents, whole: bool
) -> None:
    ada, ben = gmail.addresses
    contents.run(ada)
    contents.run(ben)
    for row in stored_rows(contents.lake, "emails", ada):
        if row["subject"] in ("Mail 1", "Mail 2"):
            gmail.mailbox(ada).delete(row["message_id"])
    contents.run(ada)
    assert PNG in {row["content"] for row in stored_rows(contents.lake, CONTENTS, ada)}
    (message_id,) = [
        row["message_id"] for row in stored_rows(contents.lake, "emails", ben) if row["subject"] == "Mail 1"
    ]
    if whole:
        forget_mailbox(contents.lake, ben)
    else:
        forget_messages(contents.lake, ben, [message_id])
    held = {row["content"] for row in stored_rows(contents.lake, CONTENTS)}
    assert PNG not in held
    assert (PDF in held) == (not whole)
    assert stored_rows(contents.lake, CONTENTS, ada)


def test_a_run_that_began_before_its_mailbox_was_forgotten_fetches_no_contents(
    gmail: Emulator, contents: Contents, tmp_path: Path
) -> None:
    address = gmail.addresses[0]
    contents.lake = contents.lake.session()
    contents.prepare(address)
    forget(Lake(f"{tmp_path}/./lake"), address)
    with pytest.raises(ConfigurationError, match="erased"):
        contents.fetch(address)
    assert gmail.usage.calls[GET] == 0
