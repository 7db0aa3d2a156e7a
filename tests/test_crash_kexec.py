"""A kexec into a crash kernel is told by that kernel's own log; a command line may stand in a file."""

from __future__ import annotations

import pytest
from simulator import Kernel, Machine, Recording, ari_device, one_port, one_switch
from stories import tell

from analyzer.options import Options

RESERVED = "Reserving 64 KiB of memory at 0x5f7f0000 for elfcorehdr"


def into_a_crash_kernel(recording: Recording) -> None:
    recording.kernel.say(RESERVED)


@pytest.mark.parametrize(("log", "kind"), [(True, "crash"), (False, "unknown")], ids=["log", "no log"])
def test_the_kind_of_a_crash_kexec(log: bool, kind: str) -> None:
    machine: Machine = one_switch(ari_device(0, 8))
    story = tell(machine, incoming=Kernel(), crash=True, log=log, afterwards=into_a_crash_kernel)
    assert story.kexec.kind == kind
    assert story.kexec.observed.discovered == story.incoming.enumerated


def test_a_command_line_from_a_file(tmp_path) -> None:
    given = tmp_path / "cmdline"
    given.write_text("root=/dev/nvme0n1p2 pci=noari quiet\n")
    below = ("0000:01:00.0", "0000:01:00.1", "0000:01:01.0")
    for text in (f"@{given}", given.read_text()):
        story = tell(one_port(), preserve=below, options=Options(cmdline=text))
        assert story.kexec.noari is True
