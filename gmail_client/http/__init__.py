"""HTTP to Gmail: single calls, batches, retries, concurrency, and the mapping of error responses."""
