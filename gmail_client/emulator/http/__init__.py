"""The web server: from a socket to a method of the API and back, in single requests, batches and uploads."""
