"""A mailbox's first content: realistic mail, labels and settings made from a seed, and a user's own mail from files."""
