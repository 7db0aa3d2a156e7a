"""One run of a scenario: from the parts to a folder with the capture, the console and the recording."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from analyzer.lab import initramfs, machine, parts
from analyzer.lab.console import enumerated, releases
from analyzer.lab.faults import Blackout, PortFault
from analyzer.lab.process import LabRunError
from analyzer.lab.scenarios import SERIES

if TYPE_CHECKING:
    from collections.abc import Callable

    from analyzer.lab.machine import LabMachine
    from analyzer.lab.parts import LabParts
    from analyzer.lab.platforms import Platform
    from analyzer.lab.scenarios import LabBoot, Scenario

#: Printed by the outgoing kernel when its devices are shut down and it accesses them no more: the blackout
#: starts here (kernel/kexec_core.c).
_KEXEC_LINE = b"Starting new kernel"


@dataclass(frozen=True)
class Run:
    """What a run left in ``folder``.

    Attributes:
        trace: QEMU's log.
        console: everything that the kernels printed.
        recording: what the guest recorded of itself, or None.
        memory: the guest's memory in the blackout, or None where the scenario does not ask for it.
        blackouts: the faults that were made, with their times.
        enumerated: functions by number of the kernel, 1-based, by the kernel's own lspci.
        releases: ``Linux version`` of each kernel.
        accelerator: ``kvm`` or ``tcg``.
        seconds: how long it took.
    """

    folder: Path
    trace: Path
    console: Path
    recording: Path | None
    memory: Path | None
    blackouts: list[Blackout]
    enumerated: dict[int, list[str]]
    releases: list[str]
    accelerator: str
    seconds: float


class Lab:
    """Parts, a private folder for what is made of them, and the accelerator that works; a context manager."""

    def __init__(
        self,
        found: LabParts,
        *,
        keep: bool = False,
        kvm: bool = True,
        progress: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._parts = found
        self._keep = keep
        self._progress = progress
        # Made by __enter__; named here, so that it can be removed even if a signal arrives while it is made.
        self._folder = Path(tempfile.gettempdir(), f"aritrace-lab-{secrets.token_hex(16)}")
        self._archives: dict[int, Path] = {}
        self._accelerator = None if kvm else "tcg"
        self.models = parts.device_models(found.qemu)

    def __enter__(self) -> Self:
        try:
            self._folder.mkdir(mode=0o700)
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._keep:
            self._progress(f"kept {self._folder}")
        else:
            shutil.rmtree(self._folder, ignore_errors=True)

    def lacks(self, scenario: Scenario) -> list[str]:
        """Return the device models that the scenario needs and this QEMU does not have, sorted."""
        return sorted(scenario.topology.models() - self.models)

    def run(self, scenario: Scenario, *, seconds: float) -> Run:
        """Run a scenario to its end.

        Args:
            scenario: what to do.
            seconds: the hard limit.

        Raises:
            LabRunError: it did not go as the scenario says; the message says how far it got.
        """
        return asyncio.run(self._run(scenario, seconds))

    async def _run(self, scenario: Scenario, seconds: float) -> Run:
        folder = Path(tempfile.mkdtemp(dir=self._folder, prefix=f"{scenario.name}-"))
        if self._accelerator is None:
            works = await machine.kvm_works(self._parts, folder)
            self._accelerator = "kvm" if works else "tcg"
            self._progress("KVM works" if works else "KVM does not work here: software emulation")
        kernels = scenario.kernels_in_a_row
        if kernels not in self._archives:
            build = self._folder / f"initramfs-{kernels}"
            build.mkdir()
            self._archives[kernels] = initramfs.build(self._parts, kernels, build)
        recipe = machine.Recipe(
            self._parts, scenario.topology, self._archives[kernels], cmdline(scenario, 0), self._accelerator
        )
        start = time.monotonic()
        blackouts: list[Blackout] = []
        running: LabMachine | None = None
        console = folder / "console.txt"
        try:
            async with asyncio.timeout(seconds), machine.started(recipe, folder) as running:
                for number in range(len(scenario.boots)):
                    await self._boot(running, scenario, number, blackouts, folder)
                await running.process.wait()
        except TimeoutError:
            last = running.console.last_line() if running else "(nothing)"
            raise LabRunError(
                f"{scenario.name}: not finished after {seconds:g} s; the guest's last line was: {last}",
                advice="give it more with --timeout, or keep its files with --keep",
            ) from None
        finally:
            if running is not None:
                console.write_bytes(running.console.content)
        text = bytes(running.console.content).decode(errors="replace")
        recording, memory = folder / machine.RECORDING_FILE, folder / machine.MEMORY_FILE
        return Run(
            folder=folder,
            trace=folder / machine.TRACE_FILE,
            console=console,
            recording=recording if recording.exists() and recording.stat().st_size else None,
            memory=memory if memory.exists() else None,
            blackouts=blackouts,
            enumerated=enumerated(text),
            releases=releases(text),
            accelerator=self._accelerator,
            seconds=time.monotonic() - start,
        )

    async def _boot(
        self, running: LabMachine, scenario: Scenario, number: int, blackouts: list[Blackout], folder: Path
    ) -> None:
        boot = scenario.boots[number]
        # Noise on the line before the guest's first process runs is skipped.
        while await running.answer() != "ready":
            pass
        self._progress(f"{scenario.name}: kernel {number + 1} of {len(scenario.boots)} is up")
        await running.say(str(number + 1))
        if (word := await running.answer()) != "enumerated":
            raise LabRunError(f"expected kernel {number + 1} to print what it enumerated, found {word!r}")
        for step in boot.steps:
            await _step(running, step)
        if boot.leave == "kexec":
            memory = folder / machine.MEMORY_FILE if boot.handover else None
            following = cmdline(scenario, number + 1)
            await _kexec(running, boot, following, blackouts, platform=scenario.platform, memory=memory)
        else:
            await running.say(f"{boot.leave} -f")


def cmdline(scenario: Scenario, number: int) -> str:
    """Return the command line of a scenario's kernel, 0-based.

    A set of preserved devices is handed over as ``lab_preserved=BDF,...``, every bridge above them included,
    and announced by the kernel before; only the lab's own kernel knows these parameters.
    """
    boot = scenario.boots[number]
    words = [scenario.platform.cmdline, *filter(None, [boot.cmdline])]
    if scenario.series != SERIES[0]:
        words.append(f"lab_series={scenario.series}")
    if boot.preserved:
        words.append(f"lab_preserved={','.join(scenario.topology.with_bridges_above(boot.preserved))}")
        words.append(f"lab_liveupdate={sum(before.leave == 'kexec' for before in scenario.boots[:number])}")
    if boot.leave == "kexec" and (following := scenario.boots[number + 1].preserved):
        words.append(f"lab_will_preserve={','.join(scenario.topology.with_bridges_above(following))}")
    return " ".join(words)


async def _step(running: LabMachine, step: str) -> None:
    await running.say(step)
    if await running.answer() != "done":
        raise LabRunError(
            f"a step failed in the guest: {step!r}; its last line was: {running.console.last_line()}"
        )


async def _kexec(
    running: LabMachine,
    boot: LabBoot,
    following: str,
    blackouts: list[Blackout],
    *,
    platform: Platform,
    memory: Path | None,
) -> None:
    await _step(running, f"load_kernel '{following}'")
    start = len(running.console.content)
    await running.say("kexec -e")
    await running.console.find(_KEXEC_LINE, start)
    if not boot.blackout and memory is None:
        return
    await running.monitor.execute("stop")
    if memory is not None:
        place, size = platform.memory_base, platform.memory_mib << 20
        await running.monitor.execute("pmemsave", val=place, size=size, filename=str(memory))
    stopped = time.time_ns()
    for fault in boot.blackout:
        if isinstance(fault, PortFault):
            await running.monitor.execute("qom-set", **fault.arguments)
        else:
            await running.monitor.write_config([fault])
    if boot.blackout:
        blackouts.append(Blackout(stopped, time.time_ns(), boot.blackout))
    await running.monitor.execute("cont")
