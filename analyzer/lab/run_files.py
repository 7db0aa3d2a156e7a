"""The files that a run leaves: a capture as the corpus has it, and the raw files beside it.

``NAME.bin`` and ``NAME.toml`` are a case for ``analyze corpus update DIR --write``; ``NAME/`` holds QEMU's
log (``cfg.log``), the console (``cfg.dmesg``, a sidecar of the log), ``truth.json`` and the guest's own
recording if it made one: ``guest-snapshot.txt`` (lspci -xxxx) and ``guest-trace.txt`` (tracefs). Of a Live
Update there is also what was handed over: ``guest-kho.tar`` (KHO's debugfs in the incoming kernel) and
``handover.tar`` (pages of memory in the blackout, named by their addresses).
"""

from __future__ import annotations

import json
import mmap
import zlib
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analyzer.lab.runner import cmdline
from analyzer.writing import make_directory, replacing

if TYPE_CHECKING:
    from analyzer.lab.handover import HandedOverState
    from analyzer.lab.parts import LabParts
    from analyzer.lab.runner import Run
    from analyzer.lab.scenarios import Scenario


#: Bytes of a recording; no guest of the lab sends as much.
_LIMIT = 256 << 20


def write(directory: str, scenario: Scenario, run: Run, found: LabParts) -> str:
    """Write everything; return the path of ``NAME.bin``.

    Raises:
        AritraceError: the log cannot be converted, or the directory cannot be written.
    """
    from analyzer.converting.conversion import convert

    raw = Path(directory) / scenario.name
    make_directory(raw)
    _put(raw / "cfg.log", run.trace.read_bytes())
    _put(raw / "cfg.dmesg", run.console.read_bytes())
    if run.recording is not None:
        members = gzip_members(run.recording.read_bytes())
        for name, content in zip(recording_names(members), members, strict=True):
            _put(raw / name, content)
    known = truth(scenario, run, found)
    if run.memory is not None:
        handed, pages = _handover(run.memory, found.platform.memory_base)
        _put(raw / "handover.tar", pages)
        known["handed_over"] = asdict(handed)
    _put(raw / "truth.json", (json.dumps(known, indent=1) + "\n").encode())
    capture = Path(directory) / f"{scenario.name}.bin"
    convert(str(raw / "cfg.log"), str(capture))
    _put(capture.with_suffix(".toml"), case(scenario, run, found).encode())
    return str(capture)


def _handover(image: Path, base: int) -> tuple[HandedOverState, bytes]:
    """What the outgoing kernel handed over, and the pages of memory that say so."""
    from analyzer.lab import handover

    with image.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as memory:
        tree = handover.find_tree(memory, base)

        def read(address: int, size: int) -> bytes:
            return memory[address - base : address - base + size]

        return handover.decode(read, tree), handover.pages_of(read, tree)


def truth(scenario: Scenario, run: Run, found: LabParts) -> dict[str, Any]:
    """Return what really happened: what was done, and what each kernel enumerated."""
    boots = list(enumerate(scenario.boots, start=1))
    return {
        "what": scenario.name,
        "enumerated_by_kernel": {str(number): bdfs for number, bdfs in sorted(run.enumerated.items())},
        "preserved": {str(number): _preserved(scenario, number) for number, boot in boots if boot.preserved},
        "stranded": {
            str(number): sorted(set(_preserved(scenario, number)) - set(run.enumerated.get(number, [])))
            for number, boot in boots
            if boot.preserved
        },
        "steps_in_guest": {str(number): list(boot.steps) for number, boot in boots if boot.steps},
        "faults_in_blackout": {
            str(number): [str(item) for item in boot.blackout] for number, boot in boots if boot.blackout
        },
        "ended_by": {str(number): boot.leave for number, boot in boots},
        "command_lines": {str(number): cmdline(scenario, number - 1) for number, _ in boots},
        "kernel": found.kernel.name,
        "releases": run.releases,
        "qemu": found.qemu_version,
        "accelerator": run.accelerator,
        "devices": [device.argument for device in scenario.topology.devices],
        "bridges": [dict(kexec.bridges) for kexec in scenario.kexecs],
        "exit_status": scenario.exit_status,
    }


def case(scenario: Scenario, run: Run, found: LabParts) -> str:
    """Return the run as a corpus file, without its expectation."""
    import tomlkit

    def lines(values: list[str]) -> Any:
        array = tomlkit.array()
        array.extend(values)
        return array.multiline(bool(values))

    document = tomlkit.document()
    document["title"] = scenario.title
    document["what"] = scenario.shows
    document["provenance"] = {
        "producer": f"{found.qemu_version}, {run.accelerator}, log backend, pci_cfg_read and pci_cfg_write",
        "kernel": f"{found.kernel.name} ({', '.join(dict.fromkeys(run.releases))})",
        "firmware": found.platform.firmware,
        "topology": lines([_line(device.bdf, device.argument) for device in scenario.topology.devices]),
        "fault": lines(_fault(scenario)),
        "conversion": "by the lab: analyze lab run",
    }
    numbers = sorted(run.enumerated)
    last = max((number for number in numbers if number > 1), default=1)
    document["truth"] = {
        "outgoing_enumerated": lines(run.enumerated.get(max(last - 1, 1), [])),
        "incoming_enumerated": lines(run.enumerated.get(last, [])),
        "preserved": lines(_preserved(scenario, last)),
        "stranded": lines(sorted(set(_preserved(scenario, last)) - set(run.enumerated.get(last, [])))),
        "exit_status": scenario.exit_status,
        # Without firmware, the first kernel is the first that accesses config space.
        **({} if found.platform.has_ports else {"boots": ["kernel"] * len(scenario.boots)}),
        # A log of a whole Live Update that names no device says that none was preserved.
        **({"preserved_source": "capture"} if scenario.parts == "live-update" else {}),
        "bridges": dict(scenario.kexecs[-1].bridges) if scenario.kexecs else {},
    }
    return tomlkit.dumps(document)


def _preserved(scenario: Scenario, number: int) -> list[str]:
    return scenario.topology.with_bridges_above(scenario.boots[number - 1].preserved)


def _line(bdf: str | None, argument: str) -> str:
    return f"{bdf} {argument}" if bdf else argument


def _fault(scenario: Scenario) -> list[str]:
    lines = []
    for number, boot in enumerate(scenario.boots, start=1):
        lines += [f"kernel {number}: {step}" for step in boot.steps]
        lines += [f"blackout after kernel {number}: {item}" for item in boot.blackout]
        lines.append(f"kernel {number} ends by {boot.leave}")
    return lines


def _put(path: Path, content: bytes) -> None:
    with replacing(path) as stream:
        stream.write(content)


def gzip_members(content: bytes) -> list[bytes]:
    """Return the gzip members, unpacked; one that was cut short or is damaged ends the list.

    Args:
        content: everything that came over the port.
    """
    found = []
    while content:
        unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        try:
            text = unpacker.decompress(content, _LIMIT)
        except zlib.error:
            break
        if not unpacker.eof:
            break
        found.append(text)
        content = unpacker.unused_data
    return found


def recording_names(recorded: list[bytes]) -> list[str]:
    """Return a file name for each member: ``guest-snapshot.txt``, ``guest-trace.txt`` or ``guest-kho.tar``.

    Further ones of a kind are numbered: a guest that recorded two kernels has ``guest-trace-2.txt``.

    Args:
        recorded: from :func:`gzip_members`.
    """
    found: list[str] = []
    for content in recorded:
        name, ending = "guest-snapshot", "txt"
        if content.startswith(b"# tracer:"):
            name = "guest-trace"
        elif content[257:262] == b"ustar":
            name, ending = "guest-kho", "tar"
        earlier = sum(other.startswith(name) for other in found)
        found.append(f"{name}-{earlier + 1}.{ending}" if earlier else f"{name}.{ending}")
    return found
