"""The kernel's rules as small pure functions: bus numbers, ARI decision, enumeration, policies.

Each rule cites the kernel version and patch series, or the PCIe section, that it follows; docs/replay.md
lists them with their tests. A prediction works on a :class:`~analyzer.replay.world.World` and never sees
which functions the incoming kernel found.
"""
