"""A child and everything it started are gone when the block ends, however it ends."""

import asyncio
import time
from pathlib import Path

import pytest

from analyzer.lab.process import LabRunError, running


def is_alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def wait_for(condition):
    for _ in range(200):
        if condition():
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt, SystemExit])
def test_the_whole_group_is_killed(tmp_path, error):
    pids = tmp_path / "pids"
    script = f"sleep 60 & echo $$ $! > {pids}.new; mv {pids}.new {pids}; wait"

    async def use():
        async with running(["sh", "-c", script], folder=tmp_path, errors=tmp_path / "errors"):
            while not pids.exists():
                await asyncio.sleep(0.01)
            if error is not None:
                raise error

    if error is None:
        asyncio.run(use())
    else:
        with pytest.raises(error):
            asyncio.run(use())
    group = [int(word) for word in pids.read_text().split()]
    assert len(group) == 2
    assert wait_for(lambda: not any(map(is_alive, group)))


def test_a_program_that_does_not_exist(tmp_path, monkeypatch):
    monkeypatch.setattr("analyzer.lab.process.shutil.which", lambda _: None)

    async def use():
        async with running([str(tmp_path / "qemu")], folder=tmp_path, errors=tmp_path / "errors"):
            pass

    with pytest.raises(LabRunError, match="cannot start"):
        asyncio.run(use())
