"""What belongs to a run in its output directory, by name: other files may lie beside it."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from analyzer.fleet.job import FILE_NAME
from analyzer.writing import is_below, overwritten

#: Files of a run that has not begun: locks, manifests, and hidden ones.
BEFORE_THE_JOB: Final = re.compile(r"run\.lock|shard-\d+-of-\d+\.lock|manifest-[0-9a-f]+\.parquet|\..*")


def is_of_run(path: str, directory: str) -> bool:
    """Whether a file is one of a run, or would lie in one of its folders; by name, link or hard link.

    Args:
        path: of a file, which need not exist.
        directory: output of a run; where there is no run nothing belongs to one.
    """
    from analyzer.fleet.parts import FOLDERS

    run = Path(directory)
    if not (run / FILE_NAME).exists():
        return False
    if any(is_below(path, str(run / folder)) for folder in FOLDERS):
        return True
    own = [name for name in os.listdir(run) if name == FILE_NAME or BEFORE_THE_JOB.fullmatch(name)]  # noqa: PTH208 names are all that is wanted
    return any(True for _ in overwritten([path], [str(run / name) for name in own]))
