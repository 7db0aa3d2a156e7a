"""How a kernel went down, by the last accesses to Command registers before the next one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from schemas.config_header import COMMAND_INTX_DISABLE, COMMAND_MASTER

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from analyzer.observed.index import AccessIndex

#: Accesses to Command registers that the end of a shutdown is recognised from.
_ENDING = 64
#: Class code and revision: what readers of whole headers read after Command and Status.
_CLASS_DWORD = 0x08
#: Bits of Command that drivers and the kernel write at a shutdown.
_SHUTDOWN_BITS = COMMAND_MASTER | COMMAND_INTX_DISABLE


def without_others(index: AccessIndex, command: NDArray[np.int64]) -> NDArray[np.int64]:
    """The rows of accesses to Command registers without the writes at the end that no kernel makes.

    The last that a kernel writes there on its way down is what it has just read, without Bus Master or with
    another Interrupt Disable (Linux 7.3 __pci_set_master, pci_intx). Other writes at the end are made from
    outside, in the blackout.
    """
    kept = command.size
    for last in range(command.size - 1, max(command.size - _ENDING, 0), -1):
        before, row = command[last - 1], command[last]
        changed = int(index.value[before] ^ index.value[row]) & 0xFFFF  # Status is above it
        is_own = index.is_read[before] and index.function[before] == index.function[row]
        if index.is_read[row] or (is_own and not changed & ~_SHUTDOWN_BITS):
            break
        kept = last
    return command[:kept]


def is_orderly(index: AccessIndex, command: NDArray[np.int64], anchor: int) -> bool:
    """Whether the outgoing kernel ended in its shutdown path, by its last accesses to Command registers.

    pci_device_shutdown runs in reverse order of discovery and, for a kexec alone, clears Bus Master of every
    function that is not preserved. Linux 7.3 looks at all of them and so ends on a read of the first; 6.1
    leaves out those without a driver, and a preserved one keeps its Bus Master: then the last functions of
    the root bus descend, and Bus Master was cleared somewhere. Where one root port alone has a driver, the
    last two functions of all descend to it, and Bus Master of both was cleared. Whoever reads the header from
    its start (lspci, pci_save_state) goes on to the class dword. Writes after the end are neither kernel's:
    something else writes in the blackout.
    """
    if not command.size:
        return False
    command = command[-_ENDING:]
    last = int(command[-1])
    if index.function[last + 1] == index.function[last] and index.offset[last + 1] == _CLASS_DWORD:
        return False
    functions = index.function[command]
    if index.is_read[last] and functions[-1] == index.function[anchor]:
        return True
    on_root = functions[functions >> 8 == index.function[anchor] >> 8]
    if not on_root.size or functions[-1] != on_root[-1]:
        return False
    master = (index.value[command] & COMMAND_MASTER) != 0
    cleared = master[:-1] & ~master[1:] & index.is_read[command[:-1]] & index.is_write[command[1:]]
    without = functions[1:][cleared & (functions[:-1] == functions[1:])]
    root, ending, left = (_last_two(one) for one in (on_root, functions, without))
    return bool(left) and (_descend(root) or (_descend(ending) and left == ending))


def _last_two(functions: NDArray[np.int64]) -> list[int]:
    """The last first."""
    return list(dict.fromkeys(functions[::-1].tolist()))[:2]


def _descend(ending: list[int]) -> bool:
    return len(ending) > 1 and ending[0] < ending[1]
