"""`gmail-assets doctor`: compare Gmail's behavior in a mailbox with the expected behavior."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from gmail_assets.cli.exit_codes import ExitCode, exit_code_of, most_severe
from gmail_assets.cli.options import mailbox_option, output_options
from gmail_assets.cli.output import Output

if TYPE_CHECKING:
    from pathlib import Path

    from gmail_assets.syncing.results import Progress
    from gmail_client.conformance.examination import Examination
    from gmail_client.conformance.expiry import HistoryLife, HistoryNotes
    from gmail_client.conformance.probe import Finding

__all__ = [
    "doctor",
    "examination_as_json",
    "print_examination",
    "record_target",
    "show_and_write",
    "show_step",
]


@click.command
@mailbox_option
@click.option(
    "--record",
    "record_file",
    metavar="FILE",
    help="Show a record of the answers, without any content of the mailbox, and write it to a new file.",
)
@click.option("--yes", is_flag=True, help="Write the record without asking.")
@click.option(
    "--expiry",
    is_flag=True,
    help="Store today's history id in the folder of the login file, and check the ids of earlier days.",
)
@output_options
def doctor(mailboxes: tuple[str, ...], record_file: str | None, yes: bool, expiry: bool, out: Output) -> int:
    """Compare Gmail's behavior with the expected behavior.

    Answers about 80 questions on the behavior of the Gmail API: the fields of a history record, the order of listings,
    the form of batches and errors, whether a full message equals its raw bytes. It reads a few listings, one thread and
    at most four messages, and changes nothing. It costs at most 300 quota units and takes one or two minutes.

    For each question it prints whether the answer is the expected one, and the consequences of a difference for your
    tables. If a read is refused or you press Ctrl-C, it uses the responses so far. docs/conformance.md explains the
    questions and the content of a record. Nothing is sent anywhere.
    """
    from gmail_assets.cli.environment import Environment
    from gmail_client.conformance.examination import examine
    from gmail_client.conformance.record import make_record

    environment = Environment.load()
    client = environment.client()
    names = environment.mailboxes(mailboxes)
    target = record_target(record_file, names)
    codes: list[ExitCode] = []
    documents: list[dict[str, Any]] = []
    for name in names:
        mailbox = client.mailbox(name)
        with out.status(f"{name}: reading") as progress:
            examination = examine(mailbox, lambda read: show_step(progress, f"reading: {read}"))
        print_examination(out, name, examination)
        document = examination_as_json(name, examination)
        life = None
        if expiry and examination.error is None and not examination.interrupted:
            life = _history_notes().check(mailbox)
            _print_life(out, life)
            document["history_lives"] = life.as_json()
        documents.append(document)
        codes.append(_exit_code(examination))
        if target is not None:
            show_and_write(
                out, target, make_record(examination, history_lives=life.as_json() if life else None), yes
            )
        if examination.interrupted:
            break
    out.print_json({"mailboxes": documents})
    return most_severe(codes)


def show_step(progress: Callable[[Progress], None], step: str) -> None:
    """Show what is done now in the status line."""
    from gmail_assets.syncing.results import Progress

    progress(Progress(step))


def record_target(record_file: str | None, names: Sequence[str]) -> Path | None:
    """The path of the record, checked before anything is read."""
    from pathlib import Path

    from gmail_client.errors import ConfigurationError

    if record_file is None:
        return None
    if len(names) != 1:
        raise ConfigurationError(
            f"--record is for one mailbox, not {len(names)}.", fix="Name one with --mailbox ADDRESS."
        )
    path = Path(record_file).expanduser()
    if path.exists() or not path.absolute().parent.is_dir():
        raise ConfigurationError(
            f"The record {record_file!r} can't be written: the file exists, or its folder does not.",
            fix="Name a new file in an existing folder.",
        )
    return path


def _history_notes() -> HistoryNotes:
    from gmail_client.conformance.expiry import HistoryNotes
    from gmail_client.settings import credentials_file

    return HistoryNotes(credentials_file().with_name("history_notes.json"))


def _print_life(out: Output, life: HistoryLife) -> None:
    if life.valid_days is not None:
        out.print(f"A history id that was stored {life.valid_days} days ago is still valid.")
    if life.expired_days is not None:
        out.print(f"A history id that was stored {life.expired_days} days ago has expired.")
    if life.valid_days is None and life.expired_days is None:
        out.print("Today's history id is stored. Run `gmail-assets doctor --expiry` again on another day.")


def show_and_write(out: Output, path: Path, record: dict[str, Any], yes: bool) -> None:
    """Show a record, ask for confirmation, and write it."""
    from gmail_client.conformance.record import record_text, write_record

    out.print(record_text(record))
    if not yes and not _confirmed(path):
        out.note("The record was not written. Confirm it in a terminal, or use --yes.")
        return
    write_record(path, record)
    out.note(
        f"The record was written to {path}. It was not sent anywhere; docs/conformance.md explains how to share it."
    )


def _confirmed(path: Path) -> bool:
    in_terminal = sys.stdin is not None and not sys.stdin.closed and sys.stdin.isatty()
    return in_terminal and click.confirm(f"Write this record to {path}?", default=False, err=True)


def _exit_code(examination: Examination) -> ExitCode:
    if examination.interrupted:
        return ExitCode.INTERRUPTED
    if examination.error is not None:
        return exit_code_of(type(examination.error).__name__)
    return ExitCode.SUCCESS


def print_examination(out: Output, name: str, examination: Examination) -> None:
    """Print the findings: as expected, not answered, different."""
    out.print(f"{name} ({examination.kind} account)", style="bold")
    by_status: dict[str, list[Finding]] = {"agrees": [], "unknown": [], "differs": []}
    for finding in examination.findings:
        by_status[finding.status].append(finding)
    _print_group(out, "As expected", by_status["agrees"], "green")
    if examination.error is None or out.verbose or len(by_status["unknown"]) < len(examination.findings):
        _print_group(out, "Not answered in this mailbox", by_status["unknown"], "yellow")
    _print_group(out, "Different from what is expected", by_status["differs"], "red")
    for read, problem in examination.evidence.problems.items():
        if out.verbose:
            out.print(f"{read}: {problem}", style="yellow")
    if examination.interrupted:
        out.note("Interrupted: the answers above come from the responses so far.")
    if examination.error is not None:
        out.note(f"The reading ended early. {examination.error}")
    counts = ", ".join(
        f"{len(by_status[status])} {text}"
        for status, text in (
            ("agrees", "as expected"),
            ("differs", "different"),
            ("unknown", "not answered"),
        )
    )
    out.print(f"{len(examination.findings)} questions: {counts}. Quota units spent: {examination.units}\n")


def _print_group(out: Output, title: str, findings: list[Finding], style: str) -> None:
    if not findings:
        return
    out.print(f"{title} ({len(findings)})", style=style)
    for finding in findings:
        answer = finding.answer
        if answer is None:
            out.print(f"  {finding.probe.question} {finding.reason}")
        elif finding.status == "agrees":
            out.print(f"  {finding.probe.question} {answer.text}")
        else:
            detail = f" ({answer.detail})" if answer.detail else ""
            out.print(f"  {finding.probe.question} {answer.text}{detail}; expected: {finding.probe.expected}")
            out.print(f"    For your tables: {finding.meaning}")


def examination_as_json(name: str, examination: Examination) -> dict[str, Any]:
    """The findings for --json."""
    error = examination.error
    return {
        "mailbox": name,
        "account": examination.kind,
        "units": examination.units,
        "interrupted": examination.interrupted,
        "problem": None
        if error is None
        else {"error": type(error).__name__, "message": error.what, "fix": error.fix},
        "reads_without_response": dict(examination.evidence.problems),
        "findings": [
            {
                "id": finding.probe.id,
                "question": finding.probe.question,
                "status": finding.status,
                "answer": None if finding.answer is None else finding.answer.text,
                "expected": finding.probe.expected,
                "basis": finding.probe.basis,
                "reason": finding.reason,
                "detail": "" if finding.answer is None else finding.answer.detail,
                "meaning": finding.meaning,
            }
            for finding in examination.findings
        ],
    }
