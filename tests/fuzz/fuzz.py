"""Fuzz one target with atheris (libFuzzer): ``python tests/fuzz/fuzz.py TARGET [OPTIONS] [CORPUS]``.

``all`` takes every target in turn. Each run starts from pieces of the captures under ``traces/``; with a
``CORPUS`` folder they are put there, and what the run finds interesting is kept for the next one. ``OPTIONS``
are libFuzzer's.
With ``FUZZ_FINDS=DIR`` a find is written there and the run goes on: one file for each kind of find, named by
the exception and the line of this package it came from. Without it, the first find ends the run.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import pkgutil
import random
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

import atheris

sys.path.append(str(Path(__file__).parents[1]))  # the simulator, and the builders of samples beside it
with atheris.instrument_imports(include=["analyzer", "schemas"]):
    import analyzer.readers

    for module in pkgutil.walk_packages(analyzer.readers.__path__, "analyzer.readers."):
        importlib.import_module(module.name)
    import fuzz_targets
    from fuzz_oracle import SECONDS, allowed

FINDS = os.environ.get("FUZZ_FINDS")
PACKAGE = str(Path(analyzer.__file__).parent)


class TooSlowError(Exception):
    """An input took more processor time than the limit."""


def guarded(run, data):
    """Run a target under its oracle and its time limit."""
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        allowed(run, data)
    spent = time.process_time() - start
    if spent > SECONDS:
        raise TooSlowError(f"{spent:.1f} s for {len(data)} bytes")


def kind_of(error: BaseException) -> str:
    """What tells one find from another: the exception and the innermost lines of the package."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if PACKAGE in frame.filename]
    place = f"{Path(frames[-1].filename).stem}-{frames[-1].lineno}" if frames else "oracle"
    return f"{type(error).__name__}-{place}"


def keep(name: str, data: bytes, error: BaseException) -> None:
    """Write a find down, the smallest of its kind."""
    folder = Path(FINDS) / name
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / kind_of(error)
    if not path.exists() or path.stat().st_size > len(data):
        path.write_bytes(data)
        path.with_suffix(".traceback").write_text(
            "".join(traceback.format_exception(error)), "utf-8", "backslashreplace"
        )


def main() -> None:
    name = sys.argv.pop(1)
    target = fuzz_targets.ALL if name == "all" else fuzz_targets.TARGETS[name]
    seeds = target.seeds()
    folders = [Path(argument) for argument in sys.argv[1:] if not argument.startswith("-")]
    scratch = tempfile.TemporaryDirectory()
    if not folders:
        folders.append(Path(scratch.name))
        sys.argv.append(scratch.name)
    for seed in seeds:
        folders[0].mkdir(parents=True, exist_ok=True)
        (folders[0] / f"seed-{hashlib.sha256(seed).hexdigest()[:16]}").write_bytes(seed)

    def one_input(data: bytes) -> None:
        try:
            guarded(target.run, data)
        except BaseException as error:
            if FINDS is None or isinstance(error, KeyboardInterrupt):
                raise
            keep(name, data, error)

    def mutate(data: bytes, max_size: int, seed: int) -> bytes:
        rng = random.Random(seed)  # noqa: S311 - repeatable, nothing secret
        if rng.randrange(8) == 0:  # a seed that reaches nothing new is not in the corpus
            data = rng.choice(seeds)
        if rng.randrange(4) == 0:
            data = atheris.Mutate(data, min(max_size, target.longest))
            return target.repair(data, rng)[:max_size] if target.repair is not None else data
        return target.mutate(data, rng, rng.choice(seeds))[:max_size]

    arguments = [
        sys.argv[0],
        f"-max_len={target.longest}",
        "-timeout=300",  # of wall-clock time, for what hangs: a busy machine may stand still
        "-rss_limit_mb=3000",
        *sys.argv[1:],
    ]
    atheris.Setup(arguments, one_input, custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
