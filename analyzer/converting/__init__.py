"""Conversion of captures into other files with the same verdict: whole, minimal, redacted."""
