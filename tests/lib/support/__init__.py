"""Helpers that several tests share: fakes of Gmail, fault injection, and comparison of tables with the emulator."""
