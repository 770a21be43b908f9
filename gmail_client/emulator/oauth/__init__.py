"""Google's OAuth: clients and tokens, the token endpoint, and the consent page."""
