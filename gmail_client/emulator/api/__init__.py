"""The Gmail API as data: its methods, its schemas, its errors and the masks of `fields`."""
