"""Which bytes of a function's configuration space a question needs and the input does not show.

Named as setpci names registers where the capability is known (``CAP_EXP+24.l``), else as offsets
(``34``, ``40-ff``): with exactly these bytes the question has an answer.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import numpy as np

from analyzer.observed.registers.first_reads import bytes_needed
from analyzer.observed.registers.samples import assembled
from schemas import config_header, extended_capabilities, registers
from schemas.inherited_state import ARI_FORWARDING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from analyzer.observed.registers.functions import Function
    from schemas.inherited_state import InheritedState

_LISTS = config_header.HEADER_SIZE
_PLAIN_OFFSETS: Final = re.compile(r"[0-9a-f]{2,3}(-[0-9a-f]{2,3})?")


def in_words(names: Iterable[str]) -> str:
    """Names of this module in a sentence, plain offsets with their noun: ``CAP_EXP+24.l, bytes 40-ff``."""
    return ", ".join(_with_noun(name) for name in names)


def _with_noun(name: str) -> str:
    offsets = _PLAIN_OFFSETS.fullmatch(name)
    if offsets is None:
        return name
    return f"bytes {name}" if offsets[1] else f"byte {name}"


def of_header_type(function: Function) -> list[str]:
    """What is needed to know whether a function is a bridge, and whether others share its slot."""
    return [] if function.header_type is not None else [f"{config_header.HEADER_TYPE:02x}"]


def of_bus_numbers(bridge: Function) -> list[str]:
    """What is needed to know which buses are below a bridge: nothing also where they are known as unset."""
    if bridge.bus_numbers is not None:
        return []
    value, shown = assembled(bridge.bus_number_samples())
    if shown & 0xFF00 and not value & 0xFF00:
        return []  # without a secondary bus the others say nothing
    missing = np.array([not shown >> 8 * byte & 0xFF for byte in range(3)])
    return list(_ranges(missing, config_header.PRIMARY_BUS))


def of_support(port: Function) -> list[str]:
    """What is needed to know whether a port supports ARI Forwarding."""
    if port.ari_supported is not None:
        return []
    if port.pcie is None:
        return of_capability_list(port)
    wanted = [] if port.pcie_flags is not None else [registers.PCIE_FLAGS.setpci]
    return [*wanted, registers.DEVCAP2.setpci]


def of_state(function: Function, state: InheritedState, *, known: bool) -> list[str]:
    """What is needed to know an inherited state of a function; ``known``: it is."""
    if known:
        return []
    base = state.register.base
    if function.start_of(base) is not None:
        return [state.register.setpci]
    return of_extended_list(function) if base.startswith("ECAP") else of_capability_list(function)


def of_port_type(port: Function) -> list[str]:
    """What is needed to know the device/port type."""
    if port.pcie_type is not None or port.is_pcie is False:
        return []
    return [registers.PCIE_FLAGS.setpci] if port.pcie is not None else of_capability_list(port)


def of_port(port: Function, *, bit_known: bool) -> list[str]:
    """All that is needed for a verdict on a port: its type, its support of ARI Forwarding, the bit."""
    wanted = [*of_port_type(port), *of_support(port), *of_state(port, ARI_FORWARDING, known=bit_known)]
    return list(dict.fromkeys(wanted))


def of_virtual_functions(function: Function) -> list[str]:
    """What is needed to know whether a function has virtual functions enabled, and where they are."""
    at = function.start_of("ECAP_SRIOV")
    if at is None:
        known = function.capabilities.extended_end or function.is_pcie is False
        return [] if known else of_extended_list(function)
    vf_enable = extended_capabilities.SRIOV_CTRL_VFE
    enabled = function.register(at + extended_capabilities.SRIOV_CTRL, 1, vf_enable)
    if enabled is not None and not enabled[0] & vf_enable:
        return []
    wanted = [] if enabled is not None else [registers.SRIOV_CTRL.setpci]
    return wanted + [place.setpci for place in registers.VF_PLACES if function.value(place) is None]


def of_virtual_function_places(function: Function) -> list[str]:
    """What is needed to know where the virtual functions of a function are once they are enabled."""
    if function.start_of("ECAP_SRIOV") is None:
        known = function.capabilities.extended_end or function.is_pcie is False
        return [] if known else of_extended_list(function)
    places = (registers.SRIOV_TOTAL_VF, *registers.VF_PLACES[1:])
    return [place.setpci for place in places if function.value(place) is None]


def of_ari_capability(function: Function) -> list[str]:
    """What is needed to know whether a function has the ARI capability, and its Next Function Number."""
    if function.has_ari:
        return [] if function.next_function is not None else ["ECAP_ARI+05.b"]
    if function.has_ari is False:
        return []
    return of_extended_list(function)


def of_extended_list(function: Function) -> list[str]:
    """What is needed to follow the list of extended capabilities to its end."""
    return [
        *of_capability_list(function),
        *_unknown(function, config_header.CONFIG_SIZE, config_header.EXTENDED_CONFIG_SIZE),
    ]


def of_capability_list(function: Function) -> list[str]:
    """What is needed to follow the list of capabilities to its end."""
    if function.is_pcie is not None:
        return []
    known = _known(function)
    wanted = [
        name
        for name, first, size in (
            (f"{config_header.STATUS:02x}.w", config_header.STATUS, 2),
            (f"{config_header.CAPABILITIES:02x}.b", config_header.CAPABILITIES, 1),
        )
        if not known[first : first + size].all()
    ]
    return [*wanted, *_unknown(function, _LISTS, config_header.CONFIG_SIZE)]


def _unknown(function: Function, first: int, end: int) -> Iterator[str]:
    """Ranges of bytes between two offsets that no answered read shows."""
    return _ranges(~_known(function)[first:end], first)


def _ranges(missing: NDArray[np.bool_], first: int) -> Iterator[str]:
    edges = np.flatnonzero(np.diff(np.r_[False, missing, False])).reshape(-1, 2) + first
    for start, stop in edges.tolist():
        yield f"{start:02x}" if stop == start + 1 else f"{start:02x}-{stop - 1:02x}"


def _known(function: Function) -> NDArray[np.bool_]:
    """Mask of the bytes of which answered reads show every bit.

    Of a width that is not recorded, what the value needs.
    """
    accesses = function.view.accesses
    live = accesses.live & (accesses.offsets < config_header.EXTENDED_CONFIG_SIZE)
    offsets, values = accesses.offsets[live].astype(np.int64), accesses.values[live]
    widths = accesses.widths[live].astype(np.int64)
    widths = np.where(widths > 0, widths, bytes_needed(values))
    known = np.zeros(config_header.EXTENDED_CONFIG_SIZE + 4, np.bool_)
    masks = None if accesses.known is None else accesses.known[live]
    for lane in range(4):
        shown = widths > lane
        if masks is not None:
            shown &= masks >> 8 * lane & 0xFF == 0xFF
        known[offsets[shown] + lane] = True
    return known[: config_header.EXTENDED_CONFIG_SIZE]
