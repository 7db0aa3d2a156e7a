"""What a host keeps of a kexec: two files, one of each side, as its tools write them.

Config space is that of simulated machines (derived) or of real captures: ``lspci -D -xxxx`` before and after,
a recording and the kernel log with ``pci=earlydump``, two trace-cmd files. Each host's files differ in a line
that names the host.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import TYPE_CHECKING

import fake_hosts
import polars as pl
import zstandard
from fleet_runs import STOCK, TRACES
from simulator import Kernel, Recording, lab_topology

import analyzer
from analyzer.converting.native import write_capture
from analyzer.readers import open_capture

if TYPE_CHECKING:
    from pathlib import Path

    from simulator.machine import Machine

    from analyzer.capture import Capture

FORMATS = TRACES / "formats"
#: Handed over by the hosts of the simulated machine: functions 0 and 8 below 02:00.0.
PRESERVED = ("0000:03:00.0", "0000:03:01.0")
_PORT = "0000:02:00.0"
#: What becomes of it in the blackout.
_FAULTS = {
    "kept": None,
    "lost": lambda machine: machine.clear(_PORT, "CAP_EXP+28.w", 0x20),
    "hidden": lambda machine: machine.port_reset(_PORT),
}


@functools.cache
def _story(became: str) -> tuple[Recording, dict[str, bytes], dict[str, bytes]]:
    """The recording up to the kexec, and the config space before and after it."""
    recording = Recording(lab_topology())
    recording.firmware()
    outgoing = recording.boot(Kernel())
    handed_over = recording.preserve(*PRESERVED)
    before = _spaces(recording.machine, outgoing.enumerated)
    recording.kexec()
    rows = list(recording.wire.rows)
    fault = _FAULTS[became]
    if fault is not None:
        recording.blackout(fault)
    after = {function.name: bytes(function.config.data) for function in recording.machine.everything()}
    incoming = recording.boot(Kernel(policy="inherit", preserved=handed_over))
    recording.wire.rows = rows
    return recording, before, {name: after[name] for name in incoming.enumerated}


def _spaces(machine: Machine, found: list[str]) -> dict[str, bytes]:
    return {name: bytes(machine.function(name).config.data) for name in found}


def _lspci(host: str, spaces: dict[str, bytes], size: int) -> bytes:
    command = {64: "-x", 256: "-xxx"}.get(size, "-xxxx")
    text = fake_hosts.lspci({name: data[:size] for name, data in spaces.items()})
    return f"root@{host}:~# lspci -D {command}\n{text}".encode()


def dumps(host: str, became: str, *, bytes_after: int = 4096) -> dict[str, bytes]:
    """``lspci`` before and after the kexec; 64 ``bytes_after`` are what it shows to who is not root."""
    _, before, after = _story(became)
    return {"before.txt": _lspci(host, before, 4096), "after.txt": _lspci(host, after, bytes_after)}


@functools.cache
def _spaces_of(name: str) -> tuple[dict[str, bytes], dict[str, bytes]]:
    path = str(TRACES / f"{name}.bin")
    return tuple(fake_hosts.functions(boot, path) for boot in (1, 2))


def real_dumps(host: str, name: str) -> dict[str, bytes]:
    """The same with what a real capture of the corpus shows of config space."""
    before, after = _spaces_of(name)
    return {"before.txt": _lspci(host, before, 4096), "after.txt": _lspci(host, after, 4096)}


def recording(folder: Path, host: str, became: str, *, dump: bool = True) -> dict[str, bytes]:
    """A recording of the outgoing kernel, and the log of the incoming one, with or without its dump."""
    story, _, after = _story(became)
    capture = story.capture(path=host)
    capture.notes.host, capture.notes.clock = host, "boot"
    return {"before.bin": _written(capture, folder), "after.log": _kernel_log(host, after if dump else {})}


def _written(capture: Capture, folder: Path) -> bytes:
    path = folder / "written.bin"
    write_capture(capture, path)
    content = path.read_bytes()
    path.unlink()
    return content


def _kernel_log(host: str, spaces: dict[str, bytes]) -> bytes:
    lines = [f"[    0.000000] {fake_hosts.BANNER}"]
    for number, (name, data) in enumerate(spaces.items()):
        time = f"[    0.{500000 + number * 100:06d}]"
        lines.append(f"{time} pci {name}: config space:")
        lines += [f"{time} {at:08x}: {data[at : at + 16].hex(' ')}" for at in range(0, 256, 16)]
    lines.append(f"[    3.100000] systemd[1]: Hostname set to <{host}>.")
    return "".join(f"{line}\n" for line in lines).encode()


def _real(name: str) -> bytes:
    content = (FORMATS / name).read_bytes()
    return (
        zstandard.ZstdDecompressor().decompressobj().decompress(content) if name.endswith("zst") else content
    )


def real_recording(host: str) -> dict[str, bytes]:
    """What record.py had written when a kexec replaced its kernel, and the log of the next one: a loss."""
    log = (
        _real("earlydump-behind-kexec.txt.zst")
        + f"[    9.1] systemd[1]: Hostname set to <{host}>.\n".encode()
    )
    return {"before.bin": _real("recorder-cut-by-kexec.bin.zst"), "after.log": log}


def real_traces() -> dict[str, bytes]:
    """trace-cmd files of both kernels of a real kexec: a loss."""
    return {f"k{number}.dat": _real(f"trace-dat-kprobes-kernel{number}.dat") for number in (1, 2)}


def both_kernels(folder: Path, host: str, start_ns: int) -> dict[str, bytes]:
    """A real capture of a kexec and a healed loss, a file for each kernel, moved to another time."""
    capture = open_capture(str(STOCK))
    (result,) = analyzer.analyze([str(STOCK)]).captures
    at = result.kexecs[0].at_access
    times = pl.col("time_ns") - capture.accesses["time_ns"][0] + start_ns
    accesses = capture.accesses.with_columns(times)
    halves = {"k1.bin": accesses.slice(0, at), "k2.bin": accesses.slice(at)}
    notes = replace(capture.notes, host=host, boundaries=[], log=[], created_ns=None)
    return {
        name: _written(replace(capture, accesses=half, notes=notes), folder) for name, half in halves.items()
    }
