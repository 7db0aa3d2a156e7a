"""Registers out of accesses: what each held and when, and what a function says of itself in one boot."""
