"""A whole organization: hundreds of mailboxes in one process, with failing ones, idle ones, and a change sensor."""
