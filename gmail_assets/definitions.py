"""The definitions that `workspace.yaml` loads, configured by the environment; each run is a single process."""

from __future__ import annotations

import dagster as dg

from gmail_assets.factory import gmail_definitions

__all__ = ["defs"]

defs = dg.Definitions.merge(gmail_definitions(), dg.Definitions(executor=dg.in_process_executor))
