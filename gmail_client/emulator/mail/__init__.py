"""The content of messages: RFC 822 bytes parsed, rendered as Gmail's payload and snippet, searched; mail from files."""
