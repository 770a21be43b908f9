"""One question about Gmail's behavior, and its answer: `Probe`, `Finding`, `CannotTell`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from gmail_client.conformance.evidence import MALFORMED, CannotTell, Evidence

__all__ = ["Answer", "Basis", "Finding", "Probe"]

Basis = Literal["documented", "captured", "assumed"]
"""Where the expected answer comes from: Google's documentation, captured responses, or this project's assumption."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer according to the evidence.

    Attributes:
        text: One of a few words, never a value from the mailbox.
        seen: Number of items with this answer.
        detail: Where it was seen, for the terminal only: names of fields and parts.
    """

    text: str
    seen: int = 1
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Probe:
    """A question with its expected answer.

    Attributes:
        id: Subject and name (`history.labels`).
        question: One line that ends with a question mark.
        expected: The answer that the emulator gives by default.
        judge: Derives the answer from the evidence; raises `CannotTell`.
        means: What an answer other than the expected one means for the user's tables, by answer.
        otherwise: The same for all answers that `means` does not name.
        basis: Where the expected answer comes from.
        behavior: The field of the emulator's `Behavior` whose values the answers are; empty if there is none.
    """

    id: str
    question: str
    expected: str
    judge: Callable[[Evidence], Answer]
    otherwise: str
    basis: Basis = "documented"
    behavior: str = ""
    means: Mapping[str, str] = field(default_factory=dict)

    def ask(self, evidence: Evidence) -> Finding:
        """The finding of this probe."""
        try:
            answer = self.judge(evidence)
        except CannotTell as reason:
            return Finding(self, None, str(reason))
        except MALFORMED as error:
            return Finding(self, None, f"a response has an unexpected form ({type(error).__name__})")
        return Finding(self, answer)


@dataclass(frozen=True, slots=True)
class Finding:
    """The answer to a probe.

    Attributes:
        probe: The probe.
        answer: The answer; None if there is none.
        reason: Why there is no answer.
    """

    probe: Probe
    answer: Answer | None
    reason: str = ""

    @property
    def status(self) -> Literal["agrees", "differs", "unknown"]:
        """Whether the answer is the expected one."""
        if self.answer is None:
            return "unknown"
        return "agrees" if self.answer.text == self.probe.expected else "differs"

    @property
    def meaning(self) -> str:
        """The consequences of a difference for the tables; empty without a difference."""
        if self.answer is None or self.status == "agrees":
            return ""
        return self.probe.means.get(self.answer.text, self.probe.otherwise)
