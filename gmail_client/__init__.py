"""Gmail as ten tables: access, quota, reads, changes, schemas."""
