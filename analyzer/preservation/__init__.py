"""The preserved set: its sources in their order, and the kernel's own dumps of it."""
