"""QEMU's trace events of config accesses: its log, and the binary file of its ``simple`` trace backend."""
