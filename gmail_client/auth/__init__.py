"""Access to a Gmail account: credentials, access tokens, and the OAuth login that gets a refresh token."""
