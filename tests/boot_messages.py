"""The messages of a small kernel's boot, and the kernels that a log of them shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analyzer import bdf
from analyzer.kernel_logs import kernel_log

if TYPE_CHECKING:
    from collections.abc import Iterable

    from analyzer.kernel_logs.kernel_log import KernelRun

VERSION = "Linux version 7.3.4 (root@vm) (gcc 14.2.0) #2 PREEMPT Sun Nov 22 06:11:55 UTC 2026"
KEXEC = "kexec_core: Starting new kernel"


def parse(*lines: str) -> tuple[KernelRun, ...]:
    return kernel_log.parse("\n".join(lines).encode()).runs


def at(time_us: int, line: str) -> str:
    """A message with printk's time."""
    return f"[{time_us // 1_000_000:5}.{time_us % 1_000_000:06}] {line}"


def timed(start_us: int, lines: Iterable[str], step_us: int = 1) -> list[str]:
    """Messages as printk writes them; the first of a boot is always at 0."""
    return [at(0 if n < 2 else start_us + n * step_us, line) for n, line in enumerate(lines)]


def boot(cmdline: str = "ro quiet", *more: str) -> list[str]:
    listed = [f"pci 0000:00:{slot:02x}.0: [8086:100{slot}] type 00 class 0x020000" for slot in range(5)]
    return [VERSION, f"Command line: {cmdline}", *listed, *more]


def keys(*texts: str) -> frozenset[int]:
    return frozenset(bdf.parse(text) for text in texts)
