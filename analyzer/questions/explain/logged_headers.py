"""What kernel logs say of a function whose header they show, or of which every bit read as 1.

Linux 6.1 to 7.3 pci_setup_device (drivers/pci/probe.c) prints IDs, header type and class of a function, and
ignores it with ``unknown header type 7f`` where nothing responds: the header type without bit 7 of all ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from schemas.config_header import HEADER_TYPE_LAYOUT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.analysis import Study
    from analyzer.kernel_logs.kernel_log import EnumeratedFunction
    from analyzer.questions.explain.function_facts import Reach

_ALL_ONES: Final = 0x7F
_IGNORED: Final = "unknown header type 7f, ignoring device"


def of_absent(study: Study, key: int, way: Reach) -> Iterator[str]:
    """What the logs say of a function that is not in the input, a sentence for each boot."""
    for boot, listed, line in _lines(study, key):
        if listed is None or _is_all_ones(listed):
            yield _no_response(boot, listed, line, way)
        else:
            yield f"the kernel log of boot {boot} lists it ({_text(listed)})"


def of_known(study: Study, key: int, way: Reach) -> Iterator[str]:
    """Boots whose log says that nothing responded at the address of a function."""
    for boot, listed, line in _lines(study, key):
        if listed is None or _is_all_ones(listed):
            yield _no_response(boot, listed, line, way)


def _lines(study: Study, key: int) -> Iterator[tuple[int, EnumeratedFunction | None, int | None]]:
    """Boot, the function as its log lists it, and the number of the line that says that it is ignored."""
    for index in range(len(study.topologies)):
        boot = study.topologies[index].boot.index
        run = study.logs.run_of(boot)
        if run is None:
            continue
        listed, line = run.listed.get(key), run.facts.get("header-all-ones", {}).get(key)
        if listed is not None or line is not None:
            yield boot, listed, line


def _no_response(boot: int, listed: EnumeratedFunction | None, line: int | None, way: Reach) -> str:
    number = "" if line is None else f", line {line}"
    said = (
        f"the kernel log of boot {boot} names it ({_text(listed)}{number}): every bit of its header read as "
        "1, so that nothing responded at this address"
    )
    return f"{said}, as is true above function 7 while ARI Forwarding is off" if way.needs_ari else said


def _is_all_ones(listed: EnumeratedFunction) -> bool:
    return listed.header_type & HEADER_TYPE_LAYOUT == _ALL_ONES


def _text(listed: EnumeratedFunction | None) -> str:
    if listed is None:
        return f"'{_IGNORED}'"
    return f"'[{listed.vendor_device}] type {listed.header_type:02x} class {listed.class_code:#08x}'"
