"""Changes and deletes of messages and threads as streams: first load, offsets, restarts."""
