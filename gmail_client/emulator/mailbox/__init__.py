"""One mailbox: its messages, threads, labels, settings and history, the writes to it, and what is read from it."""
