"""Captures into other files without loss of what a verdict needs: whole, minimal, redacted, proven."""
