"""A whole story on one machine: firmware, kernels, what is done to them, and the capture of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator import kernel_actions as actions
from simulator.firmware import Firmware
from simulator.kernel_shutdown import shut_down
from simulator.recorder import Recorder

if TYPE_CHECKING:
    from collections.abc import Callable

    from analyzer.capture import Capture
    from simulator.kernel import Kernel
    from simulator.machine import Machine
    from simulator.recorder import Row, Unanswered

_SECOND = 1_000_000_000
_BLACKOUT = 500_000_000


class Recording:
    """Tell the story step by step, then take the :meth:`capture`.

    Attributes:
        machine: the hardware.
        wire: the recorder between kernels and hardware (time, muting, marks).
        kernels: every kernel booted so far; :attr:`kernel` is the running one.
    """

    def __init__(
        self,
        machine: Machine,
        *,
        widths: bool = True,
        unanswered: Unanswered = "ones",
        cpu: int | None = None,
    ) -> None:
        self.machine = machine
        self.wire = Recorder(machine, widths=widths, unanswered=unanswered, cpu=cpu)
        self.kernels: list[Kernel] = []

    @classmethod
    def as_qemu(cls, machine: Machine) -> Recording:
        """Recorded as QEMU's trace events do it: no widths, absent functions marked, some accesses missed."""
        return cls(machine, widths=False, unanswered="empty")

    @property
    def kernel(self) -> Kernel:
        """The running kernel."""
        return self.kernels[-1]

    # -- boots ----------------------------------------------------------------------------------------------

    def firmware(self) -> None:
        """Run the firmware, as after power-on; after :meth:`reboot` too."""
        Firmware(self.wire).run()

    def boot(self, kernel: Kernel) -> Kernel:
        """Boot a kernel up to bound drivers."""
        self.wire.sleep(_SECOND // 10)
        self.kernels.append(kernel)
        kernel.boot(self.wire)
        return kernel

    def kexec(self, *, crash: bool = False) -> None:
        """Leave the running kernel for another one, in good order or (``crash``) without any shutdown."""
        if not crash:
            shut_down(self.kernel, kexec=True)
        self.wire.sleep(_BLACKOUT)

    def reboot(self) -> None:
        """Shut down and reset the platform; firmware runs next."""
        shut_down(self.kernel, kexec=False)
        self.wire.sleep(_SECOND)
        self.machine.reset()

    def blackout(self, happening: Callable[[Machine], object]) -> None:
        """Let something happen to the hardware while no kernel looks."""
        self.wire.sleep(_BLACKOUT)
        happening(self.machine)
        self.wire.sleep(_BLACKOUT)

    # -- while a kernel runs --------------------------------------------------------------------------------

    def preserve(self, *names: str) -> frozenset[str]:
        """Live Update: hand these functions over; returns the set with every bridge above them."""
        kernel = self.kernel
        kernel.outgoing = self.machine.with_bridges(*names)
        for name in sorted(kernel.outgoing):
            kernel.say(f"pci {name}: Device will be preserved across next Live Update")
        return kernel.outgoing

    def setpci(self, name: str, register: str, value: int, *, mask: int | None = None) -> None:
        """A user writes a register; with ``mask`` by reading it first."""
        actions.setpci(self.kernel, name, register, value, mask=mask)

    def getpci(self, name: str, register: str) -> int:
        """A user reads a register."""
        return actions.getpci(self.kernel, name, register)

    def lspci(self) -> None:
        """A user lists the devices."""
        actions.lspci(self.kernel)

    def rescan(self) -> list[str]:
        """A user rescans; returns what is new."""
        return actions.rescan(self.kernel)

    def remove(self, name: str) -> None:
        """A user removes a device."""
        actions.remove(self.kernel, name)

    def hot_add(self, name: str) -> list[str]:
        """A function (and what is below) comes back into its slot and is found; returns what is new."""
        self.machine.plug(name)
        return actions.rescan(self.kernel)

    def enable_vfs(self, name: str, count: int) -> list[str]:
        """Enable virtual functions; returns their addresses."""
        return actions.enable_virtual_functions(self.kernel, name, count)

    def freeze(self, *names: str) -> None:
        """VFIO freezes preserved functions: FLR, then Command = 0x0400."""
        for name in names:
            actions.freeze(self.kernel, name)

    def secondary_bus_reset(self, name: str) -> None:
        """The kernel resets the bus below a bridge."""
        actions.secondary_bus_reset(self.kernel, name)

    def reset_bus(self, name: str, *below: str) -> None:
        """The kernel resets the bus below a bridge, and saves and restores the functions there."""
        actions.reset_bus(self.kernel, name, below)

    def restore(self, name: str, *, stale: bool = False) -> None:
        """The kernel restores the state of a port; ``stale``: as it was when its slot was empty."""
        actions.recover(self.kernel, name, stale=stale)

    # -- the result -----------------------------------------------------------------------------------------

    def capture(
        self,
        *,
        path: str = "simulated",
        upto: int | None = None,
        drop: Callable[[Row], bool] | None = None,
        counted: bool = True,
        log: bool = False,
    ) -> Capture:
        """What was recorded; see :meth:`simulator.recorder.Recorder.capture`."""
        return self.wire.capture(path=path, upto=upto, drop=drop, counted=counted, log=log)
