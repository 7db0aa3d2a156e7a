"""A file is replaced as a whole or not at all, and nothing stays beside it, wherever an exception strikes."""

from __future__ import annotations

import os
import sys

import pytest

from analyzer.writing import replacing

OLD, NEW = b"what was here before", b"what is to be here"


class StruckError(BaseException):
    """As a signal's exception: it comes at any moment, and is no error of the operating system."""


def write(file) -> None:
    with replacing(file) as stream:
        stream.write(NEW)


def write_struck(file, at: int) -> bool:
    """Replace a file, struck before the ``at``-th bytecode instruction (1-based); tell if there was one."""
    instructions = 0

    def strike(frame, event, _):
        nonlocal instructions
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        instructions += event == "opcode"
        if instructions == at:
            sys.settrace(None)
            raise StruckError
        return strike

    before = sys.gettrace()
    sys._getframe().f_trace_opcodes = True  # Python 3.12 looks at a frame for it before it starts to trace
    sys.settrace(strike)
    try:
        write(file)
    except StruckError:
        return True
    finally:
        sys.settrace(before)
    return False


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
def test_at_any_moment(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: None)  # a thousand times would be slow
    steps = []
    replace = os.replace

    def replace_noted(source, target):
        steps.append("called")
        replace(source, target)
        steps.append("returned")

    monkeypatch.setattr(os, "replace", replace_noted)
    file = tmp_path / "file"
    contents = []
    struck = True
    while struck:
        steps.clear()
        file.write_bytes(OLD)
        struck = write_struck(file, len(contents) + 1)
        assert [path.name for path in tmp_path.iterdir()] == ["file"]
        contents.append(file.read_bytes())
        # The old content until it is replaced, then the new. From one turn to the next this may go back:
        # Python 3.14 does not run the same number of instructions each time.
        assert contents[-1] in {0: (OLD,), 1: (OLD, NEW), 2: (NEW,)}[len(steps)]
    assert len(contents) > 1000
    assert contents[0] == OLD
    assert contents[-1] == NEW
