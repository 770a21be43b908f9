"""What a message says: RFC 822 bytes parsed, shown as Gmail's payload and snippet, searched; mail read from files."""
