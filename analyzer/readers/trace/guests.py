"""Tell the guests in a recording of a KVM host apart: the events name threads, and no guest.

A thread of the hypervisor plays one CPU of one guest. Threads are of one guest where the recording says their
process (thread group). Else names decide: QEMU with ``debug-threads=on`` (libvirt sets it) calls them
``CPU 0/KVM``, and the same number under two threads means two guests; QEMU starts the threads of a guest one
after the other, so that in the order of their ids each guest counts from its lowest number up. Without such
names, a thread that sets up the host bridge as only firmware does is the boot CPU of a guest of its own.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from analyzer.errors import Guest, SeveralGuestsError
from analyzer.plurals import count

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

#: ``Guest.pid`` and ``Guest.threads`` of the machine that recorded, where its own accesses are in the file.
HOST: Final = 0
#: QEMU; Firecracker, cloud-hypervisor, crosvm.
_VIRTUAL_CPU = re.compile(r"(?:CPU |(?:fc_|crosvm_)?vcpu ?)(\d{1,4})(?:/\w{1,8})?")
#: Registers of 00:00.0 that firmware writes and kernels do not: PAM (i440fx, q35) and PCIEXBAR.
_FIRMWARE = np.array([*range(0x59, 0x68), *range(0x90, 0x97)])
_ADVICE: Final = (
    "record one guest alone (trace-cmd record -P with the threads in /proc/PID/task of its QEMU), or start"
    " QEMU with -name NAME,debug-threads=on"
)
_MOST_LISTED: Final = 10
#: No host has so many: a damaged or hostile file may.
_MOST_THREADS: Final = 100_000


class Threads:
    """The threads that made a guest's accesses, and what is known of each."""

    def __init__(self) -> None:
        self._names: dict[int, str] = {}
        self._processes: dict[int, int] = {}
        self._accesses: Counter[int] = Counter()
        self._firmware: set[int] = set()
        self._host = 0
        self._seen_by_kvm = False

    def name(self, thread: int, name: str, process: int | None) -> None:
        """Take note of a thread's name and process; what is known already stays."""
        if name and name != "<...>":
            self._names.setdefault(thread, name)
        if process is not None:
            self._processes.setdefault(thread, process)

    def add(self, agents: NDArray[np.int64], known: NDArray[np.bool_], *, seen_by_kvm: bool = True) -> None:
        """Count accesses by thread; those whose register is not ``known`` only make the thread known."""
        self._seen_by_kvm |= seen_by_kvm
        for these, step in ((agents[known], 1), (agents[~known], 0)):
            found, counts = np.unique(these, return_counts=True)
            for thread, number in zip(found.tolist(), counts.tolist(), strict=True):
                if thread in self._accesses or len(self._accesses) < _MOST_THREADS:
                    self._accesses[thread] += number * step

    def add_writes(self, agents: NDArray[np.int64], address: NDArray[Any]) -> None:
        """Look at writes to 00:00.0, of the register ``address``."""
        self._firmware.update(agents[np.isin(address, _FIRMWARE)].tolist())

    def add_host(self, number: int) -> None:
        """Count accesses that the kernel of the recording machine made itself."""
        self._host += number

    def refuse_several(self, path: str, wanted: int | None) -> None:
        """Raise where the recording is of more than one machine, or not of the one that is wanted.

        Raises:
            SeveralGuestsError: it is, with the guests if they can be told apart.
        """
        guests, sure = self._guests()
        if self._host and guests and self._seen_by_kvm:
            guests.append(Guest(HOST, frozenset({HOST}), self._host))
        if len(guests) > 1:
            raise _several(path, guests, sure=sure)
        if wanted is not None and guests and not guests[0].has(wanted):
            raise SeveralGuestsError(
                f"expected accesses of the guest with pid {wanted}, found {_words(guests)}",
                path=path,
                advice=f"name that one (--guest {guests[0].pid}), or leave --guest out",
            )

    def _guests(self) -> tuple[list[Guest], bool]:
        """The guests by their lowest thread, and whether it is certain which thread is of which."""
        threads = sorted(self._accesses)
        groups, sure = self._groups(threads)
        found = [
            Guest(pid, frozenset(group), sum(self._accesses[thread] for thread in group))
            for pid, group in groups
        ]
        return [guest for guest in found if guest.accesses], sure

    def _groups(self, threads: list[int]) -> tuple[list[tuple[int, list[int]]], bool]:
        processes = {self._processes[thread] for thread in threads if thread in self._processes}
        if processes and all(thread in self._processes for thread in threads):
            by_process: dict[int, list[int]] = {process: [] for process in sorted(processes)}
            for thread in threads:
                by_process[self._processes[thread]].append(thread)
            return list(by_process.items()), True
        numbers = {
            thread: int(match[1])
            for thread in threads
            if (match := _VIRTUAL_CPU.fullmatch(self._names.get(thread, "")))
        }
        most = max(Counter(numbers.values()).values(), default=0)
        if max(most, len(processes), len(self._firmware)) < 2:
            return [(thread, threads) for thread in threads[:1]], True
        nameless = [thread for thread in threads if thread not in numbers]
        groups = [*_ascending(numbers), *([thread] for thread in nameless)]
        sure = len(processes) < 2 and self._firmware.issuperset(nameless)
        sure = sure and len(groups) == max(most + len(nameless), len(self._firmware))
        return sorted((group[0], group) for group in groups), sure


def _ascending(numbers: dict[int, int]) -> Iterator[list[int]]:
    """Split threads, in the order of their ids, where their number does not go up."""
    group: list[int] = []
    for thread in sorted(numbers):
        if group and numbers[thread] <= numbers[group[-1]]:
            yield group
            group = []
        group.append(thread)
    if group:
        yield group


def _several(path: str, guests: list[Guest], *, sure: bool) -> SeveralGuestsError:
    found = f"expected accesses of one machine, found those of {_words(guests)}"
    if sure:
        return SeveralGuestsError(
            found, path=path, advice=f"choose one: --guest {guests[0].pid}", guests=tuple(guests)
        )
    threads = sorted(thread for guest in guests for thread in guest.threads)
    listed = ", ".join(map(str, threads[:_MOST_LISTED])) + (", ..." if len(threads) > _MOST_LISTED else "")
    return SeveralGuestsError(
        "expected accesses of one machine, found those of several guests, and nothing that says to"
        " which guest"
        f" each of {count(len(threads), 'thread')} belongs ({listed})",
        path=path,
        advice=_ADVICE,
    )


def _words(guests: list[Guest]) -> str:
    words = [
        f"{'the host itself' if guest.pid == HOST else f'pid {guest.pid}'}"
        f" ({count(guest.accesses, 'access', 'accesses')})"
        for guest in guests[:_MOST_LISTED]
    ]
    more = f" and {len(guests) - _MOST_LISTED} more" if len(guests) > _MOST_LISTED else ""
    counted = f"{len(guests)} machines: " if len(guests) > 1 else ""
    return counted + ", ".join(words) + more
