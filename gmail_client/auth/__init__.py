"""Access to a Gmail account: credentials, access tokens, and the OAuth login that obtains a refresh token."""
