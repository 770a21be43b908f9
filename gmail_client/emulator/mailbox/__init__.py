"""One mailbox: its messages, threads, labels, settings and history, with reads and writes."""
