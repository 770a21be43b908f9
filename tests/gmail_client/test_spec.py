"""The pipeline spec: accepted values, and one short error for each invalid one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gmail_client.errors import ConfigurationError, OptionError, UnknownTableError
from gmail_client.options import TableOptions
from gmail_client.spec import Spec, SpecTable
from gmail_client.views import VIEWS

BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join(f'*{below}' for _ in range(9))}]\n"
    for below, name in zip("abcdefg", "bcdefgh", strict=True)
)
"""Aliases of aliases: 9 ** 8 items if expanded."""


@pytest.mark.parametrize(
    ("table", "column", "expected"),
    [
        ("messages", "historyId", "historyId is not a number, and text sorts 999 after 1000"),
        ("threads", "snippet", "snippet is not a number"),
        ("labels", "messagesTotal", "labels is a snapshot"),
        ("messages", "history", "messages has no column 'history'"),
    ],
)
def test_a_column_that_cannot_order_changes_is_refused_as_sequence(
    table: str, column: str, expected: str
) -> None:
    spec = {"objects": [{"table": {"source_table": table, "sequence_by": column}}]}
    with pytest.raises(ConfigurationError, match=f"is not valid: {expected}"):
        Spec.parse(spec)


def test_the_number_of_the_history_is_a_sequence() -> None:
    entry = {"source_table": "messages", "table_configuration": {"sequence_by": "historySequence"}}
    (table,) = Spec.parse({"objects": [{"table": entry}]}).tables
    assert table.sequence_by == "historySequence"


@pytest.mark.parametrize("given", [["id", "threadId"], '["id", "threadId"]', "id, threadId"])
@pytest.mark.parametrize("key", ["primary_keys", "cluster_by"])
def test_columns_are_a_list_json_or_separated_by_commas(key: str, given: object) -> None:
    for entry in ({key: given}, {"table_configuration": {key: given}}):
        (table,) = Spec.parse({"objects": [{"table": {"source_table": "messages", **entry}}]}).tables
        assert getattr(table, key) == ("id", "threadId")


@pytest.mark.parametrize("given", ['["id"', "nothing", '{"id": 1}', [7]])
def test_invalid_column_lists_are_refused(given: object) -> None:
    with pytest.raises(ConfigurationError, match="messages"):
        SpecTable.parse({"source_table": "messages", "cluster_by": given})


def test_a_table_may_be_listed_again_with_another_destination() -> None:
    inbox = {
        "source_table": "messages",
        "destination_table": "inbox",
        "table_configuration": {"labelIds": "INBOX"},
    }
    sent = {**inbox, "destination_table": "sent", "table_configuration": {"labelIds": "SENT"}}
    spec = Spec.parse({"objects": [{"table": inbox}, {"table": sent}]})
    assert [(table.table_name, table.options.label_ids) for table in spec.tables] == [
        ("inbox", ("INBOX",)),
        ("sent", ("SENT",)),
    ]
    with pytest.raises(ConfigurationError, match="lists the table 'messages' twice"):
        spec.require_each_once()
    with pytest.raises(ConfigurationError, match="lists the table 'messages' twice"):
        Spec.parse({"objects": [{"table": inbox}, {"table": inbox}]})
    with pytest.raises(ConfigurationError, match="not clear what 'emails' is computed from"):
        Spec.parse({"objects": [{"table": inbox}, {"table": sent}, {"table": {"source_table": "emails"}}]})


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("messages", "contain 'messages', which is not a table"),
        ({"table": None}, "contain None, which is not a table"),
        ({"table": {"source_table": "messages", "table_configuration": [None]}}, "is not a mapping: [None]"),
        ({"table": {"source_table": "messages", "table_configuration": {"labelIds": [{}]}}}, "'labelIds'"),
        ({"table": {"source_table": "messages", "options": {"q": "x"}}}, "unknown key 'options'"),
        ({"table": {"source_table": "messages", "table": "x"}}, "'table'"),
        ({"table": {"source_table": "messages", 7: "x"}}, "'7'"),
        ({"table": {"source_table": "messages", "deletes": "later"}}, "'deletes'"),
        ({"table": {"source_table": "messages", "primary_keys": {"id": 1}}}, "'primary_keys'"),
        ({"table": {7: 1, "x": 2}}, "has no source_table"),
    ],
)
def test_an_invalid_table_is_named(entry: object, expected: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Spec.parse({"objects": [entry]})
    assert expected in caught.value.what
    assert len(str(caught.value)) < 700


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("objects: " + "[" * 20_000, "nested too deeply"),
        ("objects: [2026-99-99]", "neither YAML nor JSON"),
        ("objects: [" + "9" * 5_000 + "]", "neither YAML nor JSON"),
        ("objects: [!!python/object:os.system x]", "neither YAML nor JSON"),
        ("objects: {[1]: 2, {}: 3}", "neither YAML nor JSON"),
        ("objects: *nothing", "neither YAML nor JSON"),
        ("- 1", "contains list, not a mapping"),
        (BOMB + "objects: [*h]", "an unknown key"),
        (BOMB.replace("a: &a", "objects: &a") + "", "an unknown key"),
        ("objects: [{table: {source_table: labels, destination_table: &a [x, *a]}}]", "'destination_table'"),
        ("connection_name: [" + "[x], " * 1_000 + "]\nobjects: [1]", "connection_name"),
    ],
)
def test_an_unusable_file_is_one_short_error(text: str, expected: str, tmp_path: Path) -> None:
    file = tmp_path / "spec.yaml"
    file.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        Spec.load(file)
    assert expected in caught.value.what
    assert len(str(caught.value)) < 1_000


def test_yaml_aliases_are_not_expanded(tmp_path: Path) -> None:
    file = tmp_path / "spec.yaml"
    lines = BOMB.splitlines()
    file.write_text(
        "objects:\n- table:\n    source_table: messages\n" + "".join(f"    {line}\n" for line in lines)
    )
    with pytest.raises(ConfigurationError) as caught:
        Spec.load(file)
    assert len(str(caught.value)) < 1_000


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
KEYS = st.sampled_from(
    [*SpecTable.model_fields, "table_configuration", "q", "labelIds", "maxResults", "format", "x"]
)


@given(
    entry=st.dictionaries(KEYS, JSON, max_size=4),
    options=st.dictionaries(KEYS, JSON, max_size=3) | JSON,
    name=st.sampled_from(["messages", "threads", "labels", "settings"]) | JSON,
)
def test_any_json_is_a_spec_or_a_configuration_error(
    entry: dict[str, Any], options: object, name: object
) -> None:
    try:
        Spec.parse({"objects": [{"table": {**entry, "source_table": name, "table_configuration": options}}]})
    except ConfigurationError as error:
        problem = str(error)
    else:
        problem = ""
    assert len(problem) < 2_000


def test_a_table_built_in_code_is_checked_too() -> None:
    with pytest.raises(OptionError, match="'q'"):
        SpecTable(source_table="labels", options=TableOptions(q="x"))
    with pytest.raises(UnknownTableError):
        SpecTable(source_table="mails")
    with pytest.raises(ConfigurationError, match="has no column 'nothing'"):
        SpecTable(source_table="labels", primary_keys=("nothing",))
    assert SpecTable(
        source_table="messages", options=TableOptions(labelIds="TRASH")
    ).options.include_spam_trash


@pytest.mark.parametrize("key", ["destination_catalog", "destination_schema", "destination_table"])
@pytest.mark.parametrize(
    "name",
    [
        "",
        "..",
        "../other",
        "a/b",
        "a\\b",
        "/etc",
        "s3://bucket",
        "a.b",
        "a b",
        "_gmail_mailboxes",
        "_delta_log",
        "a`b",
        "a'b",
        "a\nb",
        "a\x00b",
        "%2e%2e",
        "-rf",
        "x" * 129,
        "mail=1",
        "~",
        7,
        ["a"],
    ],
)
def test_a_name_that_is_a_path_is_refused(key: str, name: object) -> None:
    with pytest.raises(ConfigurationError, match=key):
        SpecTable(source_table="messages", **{key: name})


@pytest.mark.parametrize("name", ["labels", "THREADS", "Profile"])
def test_a_table_does_not_take_another_s_name(name: str) -> None:
    with pytest.raises(ConfigurationError, match="the name of another table"):
        SpecTable(source_table="messages", destination_table=name)
    assert SpecTable(source_table=name.lower(), destination_table=name).table_name == name


@pytest.mark.parametrize("second", ["mail", "MAIL"])
def test_two_tables_do_not_share_a_name(second: str) -> None:
    objects = [
        {"table": {"source_table": "messages", "destination_table": "mail"}},
        {"table": {"source_table": "threads", "destination_table": second}},
    ]
    with pytest.raises(ConfigurationError, match="writes messages and threads to one table"):
        Spec.parse({"objects": objects})
    objects[1]["table"]["destination_schema"] = "other"
    assert len(Spec.parse({"objects": objects}).tables) == 2


def test_a_name_may_have_a_hyphen_and_a_digit() -> None:
    assert SpecTable(source_table="messages", destination_table="2-mail_x").table_name == "2-mail_x"


def objects(*names: str) -> dict[str, Any]:
    return {"objects": [{"table": {"source_table": name}} for name in names]}


def test_derived_tables_are_listed_like_others() -> None:
    spec = Spec.parse(
        {
            "objects": [
                {"table": {"source_table": "emails", "destination_table": "mail"}},
                {"table": {"source_table": "messages"}},
            ]
        }
    )
    assert [entry.table_name for entry in spec.entries] == ["messages", "mail"]
    assert [view.source_table for view in spec.views] == ["emails"]
    assert Spec.parse(objects("messages")).views == ()
    assert {view.source_table for view in Spec.default().views} == set(VIEWS)
    assert spec.table("messages") == spec.tables[0]
    assert spec.table("labels") is None


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (objects("emails"), "'emails' without 'messages'"),
        (objects("messages", "attachments"), "'attachments' without 'emails'"),
        (objects("messages", "emails", "emails"), "'emails' twice"),
        (
            {"objects": [{"source_table": "emails", "table_configuration": {"q": "x"}}]},
            "a derived table has no options",
        ),
        ({"objects": [{"source_table": "emails", "deletes": "keep"}]}, "'deletes'"),
    ],
)
def test_a_derived_table_that_is_not_valid(value: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Spec.parse(value)
