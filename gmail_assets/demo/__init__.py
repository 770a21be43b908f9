"""`make demo` and `make ui`: the main job on an emulated mailbox, no account needed (`python -m gmail_assets.demo`)."""
