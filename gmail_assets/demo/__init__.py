"""`make demo` and `make ui`: the Dagster job on an emulated mailbox, without a Gmail account."""
