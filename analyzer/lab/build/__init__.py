"""``analyze lab build``: a QEMU with ARI chains and a kernel with the inherit rule, from Debian's sources.

For developers of the analyzer: stock parts show neither lost ARI Forwarding (a stock kernel sets it again)
nor ordinary functions above 7 (no stock device model has a next-function chain). This package fetches
Debian's source packages, makes a few edits anchored in the text, and builds both into a cache.
"""

from analyzer.lab.build.live_update import LiveUpdateParts, build_live_update, built_live_update
from analyzer.lab.build.parts import BuiltParts, build, built_parts

__all__ = [
    "BuiltParts",
    "LiveUpdateParts",
    "build",
    "build_live_update",
    "built_live_update",
    "built_parts",
]
