"""The initial content of a mailbox: realistic mail, labels and settings from a seed, and own mail from files."""
