"""No room for a file: one may not grow beyond a number of bytes, as when a disk is full."""

from __future__ import annotations

import resource
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def files_up_to(size: int) -> Iterator[None]:
    """Within it, files of this process may not grow beyond ``size`` bytes.

    Modules that are imported there are not kept compiled: Python does not notice that one is cut short, and
    later imports of it fail.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    kept, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        sys.dont_write_bytecode = kept
