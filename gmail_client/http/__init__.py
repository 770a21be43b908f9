"""HTTP to Gmail: one call, batches of calls, retries, concurrency, and what each refusal means."""
