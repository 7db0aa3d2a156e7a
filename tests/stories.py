"""One simulated kexec in a call: a machine, what happens to it, which kernels run, and the judgement."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from simulator import SILICON, Kernel, Machine, Recording, ari_device, one_port, one_switch

from analyzer.analysis import analyze_capture
from analyzer.options import Options

if TYPE_CHECKING:
    from collections.abc import Callable

    from analyzer.results import BridgeVerdict, CaptureResult, DeviceVerdict, KexecResult


#: What is preserved below the port of :func:`port`, and below that of :func:`switch`.
BELOW_PORT = ("0000:01:00.0", "0000:01:00.1", "0000:01:01.0", "0000:01:01.1")
BELOW_SWITCH = ("0000:03:00.0", "0000:03:00.1", "0000:03:01.0", "0000:03:01.1")


def port() -> Machine:
    """A root port as silicon is, and an ARI device below it."""
    return one_port(model=SILICON)


def switch() -> Machine:
    """A switch as silicon is, and an ARI device below its downstream port."""
    return one_switch(ari_device(0, 1, 8, 9, model=SILICON), model=SILICON)


@dataclass
class Story:
    """What was recorded and what the analysis says of its last kexec."""

    recording: Recording
    incoming: Kernel
    result: CaptureResult

    @property
    def kexec(self) -> KexecResult:
        return self.result.kexecs[-1]

    @property
    def proved(self) -> bool:
        """The observed set is what the simulated kernel found, and the replay predicts it."""
        kexec = self.kexec
        ran = kexec.observed_policy if kexec.observed_policy != "unknown" else kexec.policy
        return (
            kexec.observed.discovered == self.incoming.enumerated
            and kexec.policies[ran].discovered == self.incoming.enumerated
            and kexec.divergences == []
        )

    @property
    def stranded(self) -> list[str]:
        return [device.bdf for device in self.kexec.devices if device.verdict == "stranded"]

    @property
    def alarms(self) -> list[str]:
        """Codes of the findings that are more than a note."""
        return sorted({item.code for item in self.kexec.findings if item.severity != "note"})

    def bridge(self, name: str) -> BridgeVerdict:
        return next(item for item in self.kexec.bridges if item.bdf == name)

    def device(self, name: str) -> DeviceVerdict:
        return next(item for item in self.kexec.devices if item.bdf == name)

    def verdict(self, name: str) -> str:
        """Verdict, cause, whose, and confidence of a bridge, as words."""
        bridge = self.bridge(name)
        words = (bridge.verdict, bridge.cause, bridge.cause_bdf, bridge.confidence)
        return " ".join(word for word in words if word)


def tell(
    machine: Machine,
    *,
    preserve: tuple[str, ...] = (),
    before: Callable[[Recording], object] | None = None,
    blackout: Callable[[Machine], object] | None = None,
    outgoing: Kernel | None = None,
    incoming: Kernel | None = None,
    afterwards: Callable[[Recording], object] | None = None,
    options: Options | None = None,
    qemu: bool = False,
    crash: bool = False,
    log: bool = False,
    firmware: bool = True,
) -> Story:
    """Record one kexec and judge it.

    ``incoming`` defaults to a kernel that inherits; it is given what ``preserve`` hands over, and so are the
    options unless the log is to say it.
    """
    recording = Recording.as_qemu(machine) if qemu else Recording(machine)
    if firmware:
        recording.firmware()
    recording.boot(outgoing or Kernel())
    kernel = incoming or Kernel(policy="inherit")
    if preserve:
        handed_over = recording.preserve(*preserve)
        if kernel.policy != "stock" and not kernel.incoming:
            kernel = replace(kernel, preserved=handed_over)
    if before is not None:
        before(recording)
    recording.kexec(crash=crash)
    if blackout is not None:
        recording.blackout(blackout)
    kernel = recording.boot(kernel)
    if afterwards is not None:
        afterwards(recording)
    chosen = options or Options()
    if preserve and not log and chosen.preserved is None:
        chosen = replace(chosen, preserved=",".join(preserve))
    return Story(recording, kernel, analyze_capture(recording.capture(log=log), chosen))
