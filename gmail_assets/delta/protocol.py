"""Delta features that another engine can switch on for a table, and that rewrites of files would not respect."""

from __future__ import annotations

from deltalake import DeltaTable

from gmail_assets.delta.errors import LakeError

__all__ = ["check_features"]

_READER_FEATURES = frozenset({"timestampNtz", "v2Checkpoint", "vacuumProtocolCheck"})
"""Reader features that do not change which rows a data file has, or how its columns are named."""


def check_features(delta: DeltaTable) -> None:
    """Check that the table's data files can be read and replaced as they are.

    A deletion vector hides rows of a file: whoever ignores it writes deleted rows again.

    Raises:
        LakeError: The table has such a feature.
    """
    features = set(delta.protocol().reader_features or ()) - _READER_FEATURES
    configuration = delta.metadata().configuration
    if configuration.get("delta.columnMapping.mode", "none") != "none":
        features.add("columnMapping")
    if configuration.get("delta.appendOnly", "").lower() == "true":
        features.add("delta.appendOnly")
    features |= {name for name in configuration if name.startswith("delta.constraints.")}
    if features:
        raise LakeError(
            f"The table {delta.table_uri!r} has Delta features that are not supported here: "
            f"{', '.join(sorted(features))}.",
            fix="Remove them with the engine that added them (see docs/troubleshooting.md), or load into a new table.",
        )
