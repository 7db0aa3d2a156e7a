"""QEMU's monitor over QMP: JSON lines on a socket (docs/interop/qmp-spec.rst of QEMU)."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from analyzer.lab.config_ports import ADDRESS_PORT, monitor_commands, select_command
from analyzer.lab.failure import LabRunError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sequence

    from analyzer.lab.config_ports import ConfigWrite

_PORT_VALUE = re.compile(r"=\s*(0x[0-9a-fA-F]+)")


class Monitor:
    """One connection to a QMP monitor."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def greet(self) -> None:
        """Take the greeting and leave the negotiation mode.

        Raises:
            LabRunError: what is there is no QMP monitor.
        """
        greeting = await self._message()
        if "QMP" not in greeting:
            raise LabRunError(f"expected the greeting of a QMP monitor, found {greeting!r}")
        await self.execute("qmp_capabilities")

    async def execute(self, command: str, **arguments: Any) -> Any:
        """Run one command and return its result.

        Raises:
            LabRunError: QEMU refused it, or left.
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
        """Do config writes through the ports and put the address latch back as it was.

        Raises:
            LabRunError: the monitor did not do what it was told.
        """
        printed = await self.human(f"i/4 {ADDRESS_PORT:#x}")
        match = _PORT_VALUE.search(printed)
        if match is None:
            raise LabRunError(f"expected the value of port {ADDRESS_PORT:#x}, found {printed.strip()!r}")
        for write in writes:
            for line in monitor_commands(write):
                refusal = (await self.human(line)).strip()
                if refusal:
                    raise LabRunError(f"the monitor did not take {line!r}: {refusal}")
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
