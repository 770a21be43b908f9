"""`MailboxPartitions`: the partition keys of all assets, fixed in the code or registered while the instance runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

__all__ = ["MailboxPartitions", "range_arguments", "ranges"]


@dataclass(frozen=True, slots=True)
class MailboxPartitions:
    """The mailboxes of a set of definitions, one partition each.

    Attributes:
        definition: The partitions definition of the assets and checks.
    """

    definition: dg.PartitionsDefinition[str]

    @classmethod
    def fixed(cls, names: Sequence[str]) -> MailboxPartitions:
        """Mailboxes that are known when the definitions are loaded; another one needs a reload."""
        return cls(dg.StaticPartitionsDefinition(list(names)))

    @classmethod
    def registered(cls, name: str) -> MailboxPartitions:
        """Mailboxes that a sensor or `gmail-assets mailboxes --register` adds to the instance under this name."""
        return cls(dg.DynamicPartitionsDefinition(name=name))

    @property
    def dynamic_name(self) -> str | None:
        """The name that the mailboxes are registered under; None if they are fixed."""
        return self.definition.name if isinstance(self.definition, dg.DynamicPartitionsDefinition) else None

    def names(self, context: dg.SensorEvaluationContext | dg.ScheduleEvaluationContext) -> tuple[str, ...]:
        """The mailboxes at this tick."""
        store = context.instance if self.dynamic_name else None
        return tuple(self.definition.get_partition_keys(dynamic_partitions_store=store))


def ranges(names: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """Split mailboxes into ranges of at most `size`."""
    for start in range(0, len(names), size):
        yield names[start : start + size]


def range_arguments(names: Sequence[str]) -> dict[str, Any]:
    """The arguments of a run over these mailboxes: neighbors in the order of the partitions, at least one.

    `dagster.RunRequest` and `JobDefinition.execute_in_process` take them.
    """
    if len(names) == 1:
        return {"partition_key": names[0]}
    tag = "dagster/asset_partition_range"
    return {"tags": {f"{tag}_start": names[0], f"{tag}_end": names[-1]}}
