"""What several tests share: reading a lake back, and comparing it with the emulator's truth."""
