"""The tables in Delta Lake: one partition per mailbox, its cursor in the same commit, maintenance, errors."""
