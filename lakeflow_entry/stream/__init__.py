"""Changes and deletes of messages and threads as streams: first load, offsets, and what a restart needs."""
