"""The virtual machine: the command line of QEMU, its sockets and its monitor, and whether KVM can be used."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from analyzer.lab.console import Console
from analyzer.lab.faults import ADDRESS_PORT, bus_command, monitor_commands, select_command, within_ports
from analyzer.lab.process import LabRunError, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from pathlib import Path

    from analyzer.lab.faults import ConfigWrite
    from analyzer.lab.parts import LabParts
    from analyzer.lab.topologies import GuestTopology


TRACE_FILE, RECORDING_FILE, ERRORS_FILE, MEMORY_FILE = "cfg.log", "recording.gz", "qemu.txt", "memory.bin"
_DRAIN_SECONDS = 5
_KVM_SECONDS = 4
#: The sockets between the lab and QEMU; ``qtest`` writes what no I/O port reaches.
CHANNELS = ("console", "control", "monitor", "qtest")
_PORT_VALUE = re.compile(r"=\s*(0x[0-9a-fA-F]+)")


@dataclass
class LabMachine:
    """A running machine: its console, its monitor, and the guest's second serial port."""

    console: Console
    monitor: Monitor
    control_reader: asyncio.StreamReader
    control_writer: asyncio.StreamWriter
    process: asyncio.subprocess.Process

    async def say(self, line: str) -> None:
        """Send a line to the guest's first process.

        Raises:
            LabRunError: the machine ended.
        """
        try:
            self.control_writer.write(line.encode() + b"\n")
            await self.control_writer.drain()
        except ConnectionError:
            raise self._ended() from None

    async def answer(self) -> str:
        """Return the next line of the guest's first process.

        Raises:
            LabRunError: the machine ended.
        """
        while True:
            try:
                line = await self.control_reader.readline()
            except ConnectionError:
                line = b""
            if not line:
                raise self._ended()
            if word := line.strip().decode(errors="replace"):
                return word

    def _ended(self) -> LabRunError:
        return LabRunError(f"the machine ended; its last line was: {self.console.last_line()}")


@dataclass(frozen=True)
class Recipe:
    """What one machine is started from."""

    parts: LabParts
    topology: GuestTopology
    initrd: Path
    cmdline: str
    accelerator: str


def command_line(recipe: Recipe, sockets: Mapping[str, int]) -> list[str]:
    """Return the command that starts QEMU.

    Args:
        recipe: the machine.
        sockets: a file descriptor for each of :data:`CHANNELS`, which QEMU inherits.
    """
    platform = recipe.parts.platform
    words = [*_start(recipe.parts, recipe.accelerator), "-m", str(platform.memory_mib)]
    words += ["-nodefaults", "-no-user-config", "-display", "none", "-vga", "none", "-msg", "timestamp=on"]
    words += ["-kernel", str(recipe.parts.kernel.image), "-initrd", str(recipe.initrd)]
    words += ["-append", recipe.cmdline]
    words += ["-trace", "pci_cfg_read", "-trace", "pci_cfg_write", "-D", TRACE_FILE]
    for name in CHANNELS:
        words += ["-chardev", f"socket,id={name},fd={sockets[name]}"]
    words += ["-serial", "chardev:console"]
    if platform.has_ports:
        words += ["-serial", "chardev:control", "-serial", f"file:{RECORDING_FILE}"]
    else:
        words += ["-device", "virtio-serial-device", "-device", "virtserialport,chardev=control,nr=1"]
        words += ["-chardev", f"file,id=recording,path={RECORDING_FILE}"]
        words += ["-device", "virtserialport,chardev=recording,nr=2"]
    words += ["-qtest", "chardev:qtest", "-qtest-log", "none"]
    words += ["-mon", "chardev=monitor,mode=control"]
    for device in recipe.topology.devices:
        words += ["-device", device.argument]
    return words


@asynccontextmanager
async def started(recipe: Recipe, folder: Path) -> AsyncIterator[LabMachine]:
    """Start QEMU in ``folder`` and connect to it; it is killed when the block ends.

    Raises:
        LabRunError: QEMU does not start, or the guest's kernel panics while the block runs.
    """
    console = Console()
    async with contextlib.AsyncExitStack() as stack:
        # Pairs instead of socket files: no name that could be too long, and no other process can connect.
        pairs = {name: socket.socketpair() for name in CHANNELS}
        for ours, theirs in pairs.values():
            stack.callback(ours.close)
            stack.callback(theirs.close)
        sockets = {name: theirs.fileno() for name, (_, theirs) in pairs.items()}
        process = await stack.enter_async_context(
            running(
                command_line(recipe, sockets),
                folder=folder,
                errors=folder / ERRORS_FILE,
                inherit=tuple(sockets.values()),
            )
        )
        for _, theirs in pairs.values():
            theirs.close()  # QEMU alone holds it now: when QEMU ends, reads return the end
        console_reader, _ = await _connect(stack, pairs["console"][0])
        control_reader, control_writer = await _connect(stack, pairs["control"][0])
        platform = recipe.parts.platform
        bus = Bus(*await _connect(stack, pairs["qtest"][0]), platform.ecam)
        monitor = Monitor(*await _connect(stack, pairs["monitor"][0]), bus, has_ports=platform.has_ports)
        try:
            await monitor.greet()
        except (LabRunError, ConnectionError):
            said = (folder / ERRORS_FILE).read_text(errors="replace").strip().splitlines()
            last = said[-1] if said else "it printed nothing"
            raise LabRunError(f"QEMU did not start: {last}") from None
        machine = LabMachine(console, monitor, control_reader, control_writer, process)
        async with _watching(console, console_reader):
            yield machine


async def kvm_works(found: LabParts, folder: Path) -> bool:
    """Try KVM: the kernel must print its first line within seconds.

    That ``/dev/kvm`` can be opened, or even that the firmware runs, is not enough: under some hypervisors a
    guest is then too slow for any time limit.
    """
    console = folder / "kvm.txt"
    command = [*_start(found, "kvm"), "-nodefaults", "-display", "none", "-serial", f"file:{console}"]
    command += ["-kernel", str(found.kernel.image), "-append", f"{found.platform.cmdline} earlyprintk=ttyS0"]
    async with running(command, folder=folder, errors=folder / "kvm-errors.txt") as process:
        for _ in range(_KVM_SECONDS * 10):
            if console.exists() and b"Linux version" in console.read_bytes():
                return True
            if process.returncode is not None:
                return False
            await asyncio.sleep(0.1)
    return False


def _start(found: LabParts, accelerator: str) -> list[str]:
    firmware = ["-L", str(found.firmware)] if found.firmware else []
    return [str(found.qemu), *firmware, "-accel", accelerator, *found.platform.words]


async def _connect(
    stack: contextlib.AsyncExitStack, end: socket.socket
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_unix_connection(sock=end, limit=1 << 20)
    stack.callback(writer.close)
    return reader, writer


@asynccontextmanager
async def _watching(console: Console, reader: asyncio.StreamReader) -> AsyncIterator[None]:
    """Follow the console beside the block; its error becomes the block's."""
    block = asyncio.current_task()
    failure: list[BaseException] = []

    async def follow() -> None:
        try:
            await console.follow(reader)
        except LabRunError as error:
            failure.append(error)
            if block is not None:
                block.cancel()

    follower = asyncio.create_task(follow())
    try:
        yield
        # QEMU has ended: what it still printed comes before the end of its socket.
        await asyncio.wait({follower}, timeout=_DRAIN_SECONDS)
    except asyncio.CancelledError:
        if failure and block is not None:
            block.uncancel()
            raise failure[0] from None
        raise
    finally:
        follower.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await follower


class Monitor:
    """One connection to QEMU's monitor over QMP: JSON lines (docs/interop/qmp-spec.rst of QEMU).

    Args:
        reader: from QEMU.
        writer: to QEMU.
        bus: writes config space where no I/O port reaches it.
        has_ports: there are I/O ports that reach the first 256 bytes of a function.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        bus: Bus | None = None,
        *,
        has_ports: bool = True,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._bus = bus
        self._has_ports = has_ports

    async def greet(self) -> None:
        """Take the greeting and leave the negotiation mode.

        Raises:
            LabRunError: the other end is not a QMP monitor.
        """
        greeting = await self._message()
        if "QMP" not in greeting:
            raise LabRunError(f"expected the greeting of a QMP monitor, found {greeting!r}")
        await self.execute("qmp_capabilities")

    async def execute(self, command: str, **arguments: Any) -> Any:
        """Run one command and return its result.

        Raises:
            LabRunError: QEMU refused it, or ended.
        """
        request: dict[str, Any] = {"execute": command}
        if arguments:
            request["arguments"] = arguments
        try:
            self._writer.write(json.dumps(request).encode() + b"\n")
            await self._writer.drain()
        except ConnectionError:
            raise LabRunError("QEMU closed its monitor") from None
        while True:
            message = await self._message()
            if "return" in message:
                return message["return"]
            if "error" in message:
                raise LabRunError(f"QEMU refused {command}: {message['error'].get('desc')}")
            # Anything else is an event.

    async def human(self, line: str) -> str:
        """Run one line of the human monitor, which alone has port access, and return what it prints."""
        return str(await self.execute("human-monitor-command", **{"command-line": line}))

    async def write_config(self, writes: Sequence[ConfigWrite]) -> None:
        """Do config writes: through the ports, with the address latch put back as it was, or in memory.

        Raises:
            LabRunError: QEMU refused a command.
        """
        for write in writes:
            if self._bus is not None and not (self._has_ports and within_ports(write)):
                await self._bus.write_config(write)
            else:
                await self._write_by_ports(write)

    async def _write_by_ports(self, write: ConfigWrite) -> None:
        printed = await self.human(f"i/4 {ADDRESS_PORT:#x}")
        match = _PORT_VALUE.search(printed)
        if match is None:
            raise LabRunError(f"expected the value of port {ADDRESS_PORT:#x}, found {printed.strip()!r}")
        for line in monitor_commands(write):
            refusal = (await self.human(line)).strip()
            if refusal:
                raise LabRunError(f"the monitor refused {line!r}: {refusal}")
        await self.human(select_command(int(match[1], 16)))

    async def _message(self) -> dict[str, Any]:
        try:
            line = await self._reader.readline()
        except ConnectionError:
            line = b""
        if not line:
            raise LabRunError("QEMU closed its monitor")
        try:
            message = json.loads(line)
        except ValueError:
            message = None
        if not isinstance(message, dict):
            raise LabRunError(f"expected a JSON object from the monitor, found {line[:80]!r}")
        return message


class Bus:
    """One connection to QEMU's test protocol (system/qtest.c), which writes to addresses of the machine."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ecam: int) -> None:
        self._reader = reader
        self._writer = writer
        self._ecam = ecam

    async def write_config(self, write: ConfigWrite) -> None:
        """Write a register in memory-mapped config space.

        Raises:
            LabRunError: QEMU refused it, or ended.
        """
        command = bus_command(write, self._ecam)
        try:
            self._writer.write(command.encode() + b"\n")
            await self._writer.drain()
            answer = await self._reader.readline()
        except ConnectionError:
            answer = b""
        if answer.strip() != b"OK":
            raise LabRunError(f"QEMU refused {command!r}: {answer.decode(errors='replace').strip()}")
