"""Layouts of every on-disk format and register block that aritrace reads, as Construct declarations.

A module here holds layout and constants only, keeps the names of its source (PCIe specification, Linux, QEMU)
and cites it at the top. Behaviour lives in ``analyzer`` under the same noun.
"""
