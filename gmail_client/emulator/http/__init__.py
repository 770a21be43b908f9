"""The HTTP server: single requests, batches and uploads, from the socket to a method of the API and back."""
