"""PCI Express errors of simulated functions: what the one that detects an error records, and what it sends.

PCI Express 6.2.5: the bit in the AER status registers is set whatever the masks say, and so is Device Status;
an error that is not masked and whose reporting is on is sent to the root port, which notes it in Root Error
Status.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from schemas import extended_capabilities as ext
from schemas import pcie_capability as exp
from simulator import register_blocks as blocks

if TYPE_CHECKING:
    from simulator.functions import Function

#: lspci's words -> bit of the status register (PCI Express 7.8.4.2, 7.8.4.5).
UNCORRECTABLE = {
    "DLP": 4, "SDES": 5, "TLP": 12, "FCP": 13, "CmpltTO": 14, "CmpltAbrt": 15, "UnxCmplt": 16, "RxOF": 17,
    "MalfTLP": 18, "ECRC": 19, "UnsupReq": 20, "ACSViol": 21, "UncorrIntErr": 22, "BlockedTLP": 23,
    "AtomicOpBlocked": 24, "TLPBlockedErr": 25, "PoisonTLPBlocked": 26,
}  # fmt: skip
CORRECTABLE = {
    "RxErr": 0, "BadTLP": 6, "BadDLLP": 7, "Rollover": 8, "Timeout": 12, "AdvNonFatalErr": 13,
    "CorrIntErr": 14, "HeaderOF": 15,
}  # fmt: skip
#: Severity: bit of Device Status and of its enable in Device Control; Root Error Status of the first and of
#: every further error, and what it notes besides.
_CORRECTABLE, _NON_FATAL, _FATAL = (0, 0x01, 0x02, 0x00), (1, 0x04, 0x08, 0x20), (2, 0x04, 0x08, 0x40)
_FIRST_FATAL = 0x10


def record(function: Function, error: str) -> None:
    """Record an error, by lspci's word, in the function that detects it, and tell the root port.

    Raises:
        KeyError: there is no such error, or the function has no AER capability.
    """
    at, config = function.extended[blocks.AER], function.config
    if error in CORRECTABLE:
        bit, (status, mask), kind = CORRECTABLE[error], (ext.AER_COR_STATUS, ext.AER_COR_MASK), _CORRECTABLE
    else:
        bit, (status, mask) = UNCORRECTABLE[error], (ext.AER_UNCOR_STATUS, ext.AER_UNCOR_MASK)
        kind = _FATAL if config.get(at + ext.AER_UNCOR_SEVERITY, 4) >> bit & 1 else _NON_FATAL
    config.put(at + status, 4, config.get(at + status, 4) | 1 << bit)
    reporting = 0
    if function.pcie is not None:
        devsta = function.pcie + exp.DEVSTA
        config.put(devsta, 2, config.get(devsta, 2) | 1 << kind[0] | (error == "UnsupReq") << 3)
        reporting = config.get(function.pcie + exp.DEVCTL, 2) >> kind[0] & 1
    if reporting and not config.get(at + mask, 4) >> bit & 1:
        _tell(function, kind)


def _tell(function: Function, kind: tuple[int, int, int, int]) -> None:
    root = function
    while root.parent is not None:
        root = root.parent
    if root.kind != "root-port" or blocks.AER not in root.extended:
        return
    _, first, further, besides = kind
    at = root.extended[blocks.AER] + ext.AER_ROOT_STATUS
    before = root.config.get(at, 4)
    noted = further if before & first else first
    if kind is _FATAL and not before & first:
        besides |= _FIRST_FATAL
    root.config.put(at, 4, before | noted | besides)
