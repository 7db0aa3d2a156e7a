"""The two kinds of machine that the lab starts, and what is different about them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Platform:
    """A machine type of QEMU.

    Attributes:
        name: of the machine type.
        emulator: the program that has it.
        words: QEMU's options that choose it, the accelerator aside.
        cmdline: parameters that every kernel gets here.
        functions: what the root bus has by itself.
        firmware: what boots the kernel, for the provenance.
        ecam: physical address of config space.
        has_ports: the ports 0xcf8 and 0xcfc reach the first 256 bytes of a function, and there are three
            serial ports.
        memory_mib: the guest's memory, from ``memory_base`` on.
    """

    name: str
    emulator: str
    words: tuple[str, ...]
    cmdline: str
    functions: tuple[str, ...]
    firmware: str
    ecam: int
    has_ports: bool = True
    memory_mib: int = 768
    memory_base: int = 0


#: On a busy host an emulated timer may look broken to a kernel, which then panics: it must not check. SeaBIOS
#: puts config space where it is (src/fw/dev-q35.h: Q35_HOST_BRIDGE_PCIEXBAR_ADDR).
Q35 = Platform(
    name="q35",
    emulator="qemu-system-x86_64",
    words=("-machine", "q35"),
    cmdline="console=ttyS0 loglevel=8 no_timer_check",
    functions=("0000:00:00.0", "0000:00:1f.0", "0000:00:1f.2", "0000:00:1f.3"),
    firmware="the SeaBIOS that comes with this QEMU",
    ecam=0xB000_0000,
)
#: The generic machine for Arm: a device tree instead of firmware, config space in memory only (GPEX), and one
#: serial port. Its other two channels are ports of a virtio device, which is no PCI function. Physical
#: addresses are of QEMU's hw/arm/virt.c; unknown parameters become the environment of the first process.
VIRT = Platform(
    name="virt",
    emulator="qemu-system-aarch64",
    words=("-machine", "virt", "-cpu", "cortex-a57"),
    cmdline="console=ttyAMA0 loglevel=8 lab_control=/dev/vport0p1 lab_record=/dev/vport0p2",
    functions=("0000:00:00.0",),
    firmware="none: QEMU starts the kernel with a device tree",
    ecam=0x40_1000_0000,
    has_ports=False,
    memory_mib=1024,
    memory_base=0x4000_0000,
)
