"""Opening of an input that a signal breaks off."""

import os

import pytest

from analyzer.readers.opening import open_input


@pytest.mark.parametrize("step", ["fstat", "set_blocking"])
def test_a_signal_at_any_step_goes_through_and_nothing_stays_open(step, tmp_path, monkeypatch):
    file = tmp_path / "capture"
    file.write_bytes(b"x")
    opened = []

    def signal(descriptor, *_):
        opened.append(descriptor)
        raise SystemExit(143)

    monkeypatch.setattr(os, step, signal)
    with pytest.raises(SystemExit) as raised:
        open_input(str(file))
    monkeypatch.undo()
    assert raised.value.code == 143
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(opened[0])


def test_what_was_opened_is_closed_once(tmp_path):
    file = tmp_path / "capture"
    file.write_bytes(b"x")
    with open_input(str(file)) as stream:
        assert stream.read(10) == b"x"
        descriptor = stream.fileno()
    assert stream.closed
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
