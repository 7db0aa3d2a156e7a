"""The native container (docs/format.md), whole or cut short."""
