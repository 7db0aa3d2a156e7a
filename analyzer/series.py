"""The Live Update PCI patch series that the program knows, one row each: a new version is a new row.

Everything that depends on the version of the patches reads this table: the rules of the replay, what
``--series`` takes, which kernel messages prove which version, the data that is handed over, the panics, and
the citations. docs/replay.md shows the table. None of the versions is in Linux 7.3.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from itertools import groupby
from typing import TYPE_CHECKING, Literal

from analyzer.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

#: Why a kernel panics over a Live Update: it could not retrieve the data, the data has another version, or
#: preserved devices were not finished.
Panic = Literal["retrieve", "version", "unfinished"]


class BusNumberRule(Enum):
    """When a kernel with incoming devices refuses new numbers to a bridge whose own are unset or broken.

    pci_scan_bridge_extend(); the sources of each variant are in docs/replay.md, bus-number rules.
    """

    DATA = "refused for every bridge while handed-over data exists, even without a device in it"
    DEVICES = "refused for every bridge while the handed-over set holds devices"
    PRESERVED_BRIDGE_ON_BUS = (
        "refused for every unnumbered bridge on a bus where a preserved bridge has no child bus, "
        "else assigned"
    )


class AriRule(Enum):
    """How ARI of a preserved bridge is decided, pci_configure_ari()."""

    READ = "bit 5 is read and used, nothing is written"


@dataclass(frozen=True)
class HandedOverForm:
    """A form of ``struct pci_ser`` (layouts: schemas/pci_ser.py).

    Attributes:
        layout: tag of the header, ``H1`` to ``H8``.
        entry: tag of the entries, ``D1`` to ``D3``.
        flb_name: FLB name (compatible string).
        version: value of the header's version field, None where it has none.
        earlier_versions: values that trees before the final patches wrote.
    """

    layout: str
    entry: str
    flb_name: str
    version: int | None = None
    earlier_versions: tuple[int, ...] = ()


@dataclass(frozen=True)
class MessageText:
    """A fixed text in kernel messages of some versions only.

    Attributes:
        text: the text, as it is in the message.
        fact: what the message says about its function, if the message begins with the text.
        panic: the kernel panics with it, or right after it, for this reason.
    """

    text: str
    fact: Literal["refused-bridge", "never-finished"] | None = None
    panic: Panic | None = None


@dataclass(frozen=True)
class Series:
    """One version of the patches.

    Attributes:
        name: what ``--series`` takes and the JSON output says.
        posted: date of the mails.
        bus_numbers: rule for bridges without valid bus numbers; ``bus_numbers_title`` its patch.
        ari: rule for ARI of preserved bridges; ``ari_title`` its patch.
        hands_over: form of the data in the final patches, None where the trees of that version differ.
        log_texts: messages that other versions do not print, or not all of them.
    """

    name: str
    posted: str
    bus_numbers: BusNumberRule
    bus_numbers_title: str
    ari: AriRule
    ari_title: str
    hands_over: HandedOverForm | None
    log_texts: tuple[MessageText, ...]

    @property
    def panics(self) -> frozenset[Panic]:
        """What this kernel panics over."""
        return frozenset(text.panic for text in self.log_texts if text.panic is not None)


_REFUSED = MessageText("Cannot reconfigure bridge during Live Update!", fact="refused-bridge")
_NOT_ENUMERATED = MessageText("Downstream devices will not be enumerated!")
_SKIPPED = MessageText("Cannot reconfigure bridge during Live Update, skipping", fact="refused-bridge")
_NOT_ASSIGNED = MessageText("Not assigning bus numbers, preserved bridge ", fact="refused-bridge")
_NO_FLB = MessageText("No incoming FLB matched")
_RETRIEVE_WARNING = MessageText("Failed to retrieve incoming FLB data")
_NOT_RETRIEVED = MessageText("Failed to retrieve incoming FLB data (", panic="retrieve")
_VERSION_ERROR = MessageText("liveupdate: Incoming PCI FLB version (v", panic="version")
_VERSION_PANIC = MessageText("not syncing: Incoming PCI FLB version (v", panic="version")
_RELIES_ON_QUIRKS = MessageText("Refusing to preserve device that relies on ACS quirks")
_QUIRK_REQUIRED = MessageText("Device-specific quirk required to enable ACS!")
_NO_VIRTUAL_FUNCTIONS = MessageText("Cannot preserve Virtual Functions")
_NO_ACS_BUFFER = MessageText("No ACS save buffer, not adopting ACS controls")
_NO_BLOCKS = MessageText("Failed to restore devices KHO block set", panic="retrieve")

_INHERIT_NUMBERS = "Inherit bus numbers"
_KEEP_NUMBERS = "Keep bus numbers constant"
_INHERIT_ARI = "Inherit ARI Forwarding Enable on preserved bridges"
_ADOPT_ARI = "Adopt ARI Forwarding Enable on preserved bridges"

#: Oldest first.
TABLE: tuple[Series, ...] = (
    Series(
        name="v4",
        posted="23 Apr 2026",
        bus_numbers=BusNumberRule.DATA,
        bus_numbers_title=_INHERIT_NUMBERS,
        ari=AriRule.READ,
        ari_title=_INHERIT_ARI,
        hands_over=None,
        log_texts=(_REFUSED, _NOT_ENUMERATED, _NO_FLB, _RETRIEVE_WARNING),
    ),
    Series(
        name="v5",
        posted="12 May 2026",
        bus_numbers=BusNumberRule.DATA,
        bus_numbers_title=_KEEP_NUMBERS,
        ari=AriRule.READ,
        ari_title=_INHERIT_ARI,
        hands_over=None,
        log_texts=(_REFUSED, _NOT_ENUMERATED, _NO_FLB, _RETRIEVE_WARNING, _RELIES_ON_QUIRKS),
    ),
    Series(
        name="v6",
        posted="22 May 2026",
        bus_numbers=BusNumberRule.DEVICES,
        bus_numbers_title=_KEEP_NUMBERS,
        ari=AriRule.READ,
        ari_title=_INHERIT_ARI,
        hands_over=HandedOverForm("H6", "D3", "pci-v3"),
        log_texts=(_SKIPPED, _NO_FLB, _RETRIEVE_WARNING, _RELIES_ON_QUIRKS, _QUIRK_REQUIRED),
    ),
    Series(
        name="v7",
        posted="10 Jul 2026",
        bus_numbers=BusNumberRule.DEVICES,
        bus_numbers_title=_KEEP_NUMBERS,
        ari=AriRule.READ,
        ari_title=_INHERIT_ARI,
        hands_over=HandedOverForm("H7", "D3", "pci-v2"),
        log_texts=(_SKIPPED, _NO_FLB, _NOT_RETRIEVED, _RELIES_ON_QUIRKS, _QUIRK_REQUIRED),
    ),
    Series(
        name="v8",
        posted="before 10 Sep 2026",
        bus_numbers=BusNumberRule.DEVICES,
        bus_numbers_title="Keep bus numbers",
        ari=AriRule.READ,
        ari_title=_ADOPT_ARI,
        hands_over=HandedOverForm("H8", "D3", "pci", version=2, earlier_versions=(1,)),
        log_texts=(
            MessageText("Preserved device was never finished!", fact="never-finished"),
            MessageText("Some preserved devices were never finished!", panic="unfinished"),
            _NO_VIRTUAL_FUNCTIONS,
            _VERSION_ERROR,
            _NOT_RETRIEVED,
            _RELIES_ON_QUIRKS,
            _QUIRK_REQUIRED,
        ),
    ),
    Series(
        name="v9",
        posted="18 Sep 2026",
        bus_numbers=BusNumberRule.PRESERVED_BRIDGE_ON_BUS,
        bus_numbers_title="Preserve bus numbers",
        ari=AriRule.READ,
        ari_title=_ADOPT_ARI,
        hands_over=HandedOverForm("H8", "D3", "pci", version=2, earlier_versions=(1,)),
        log_texts=(
            _NOT_ASSIGNED,
            MessageText("preserved device(s) were never finished!", panic="unfinished"),
            MessageText(" was never finished!"),
            _NO_ACS_BUFFER,
            _NO_BLOCKS,
            MessageText("Failed to allocate struct pci_flb_incoming", panic="retrieve"),
            MessageText("Failed to insert PCI device", panic="retrieve"),
            _NO_VIRTUAL_FUNCTIONS,
            _VERSION_PANIC,
            _NOT_RETRIEVED,
            _RELIES_ON_QUIRKS,
            _QUIRK_REQUIRED,
        ),
    ),
)

#: The forms that older trees handed over, and these trees: recognised, so that the refusal can name them.
EARLIER_FORMS: tuple[tuple[HandedOverForm, str], ...] = (
    (HandedOverForm("H1", "D1", "pci-v1"), "series v1"),
    (HandedOverForm("H2", "D1", "pci-v1"), "series v2"),
    (HandedOverForm("H3", "D2", "pci-v1"), "series v3"),
    (HandedOverForm("H4", "D3", "pci-v2"), "a tree between v4 and v5"),
    (HandedOverForm("H5", "D3", "pci-v2"), "trees between v5 and v6"),
)


def names() -> tuple[str, ...]:
    """Names of all versions, oldest first."""
    return tuple(row.name for row in TABLE)


def newest() -> Series:
    """The version that is assumed where the input does not show one."""
    return TABLE[-1]


def named(name: str) -> Series:
    """Return the row of a version.

    Raises:
        UsageError: a version that the program does not know.
    """
    for row in TABLE:
        if row.name == name:
            return row
    raise UsageError(
        f"expected a series of the Live Update patches ({', '.join(names())}), found {name!r}",
        advice="leave the series out to let the capture decide",
    )


def where(fits: Callable[[Series], bool]) -> tuple[Series, ...]:
    """Return the versions that a condition fits, oldest first."""
    return tuple(row for row in TABLE if fits(row))


def printing(text: str) -> tuple[Series, ...]:
    """Return the versions with a message that has this text in it, oldest first."""
    return where(lambda row: any(text in message.text for message in row.log_texts))


def panicking(reason: Panic) -> tuple[Series, ...]:
    """Return the versions that panic for this reason, oldest first."""
    return where(lambda row: reason in row.panics)


def span(rows: Iterable[Series], to: str = "-") -> str:
    """Name versions in the fewest words: ``v4-v7``, ``v9``, ``v4-v5, v8``."""
    chosen = [row.name for row in rows]
    runs = [
        [name for _, name in run]
        for kept, run in groupby(((name in chosen, name) for name in names()), key=lambda pair: pair[0])
        if kept
    ]
    return ", ".join(run[0] if len(run) == 1 else f"{run[0]}{to}{run[-1]}" for run in runs)


def dated_span() -> str:
    """All versions, with the dates of the first and the last: ``v4 (...) to v9 (...)``."""
    first, last = TABLE[0], newest()
    return f"{first.name} ({first.posted}) to {last.name} ({last.posted})"


def first_words(title: Callable[[Series], str]) -> tuple[tuple[Series, str], ...]:
    """The first words that a patch's title had, each with the first version that had it."""
    found: dict[str, Series] = {}
    for row in TABLE:
        found.setdefault(title(row).split(" ", 1)[0], row)
    return tuple((row, word) for word, row in found.items())


def log_texts() -> dict[MessageText, tuple[str, ...]]:
    """Every text with the versions that print it; a text that is part of another one comes after it."""
    texts = {text for row in TABLE for text in row.log_texts}
    ordered = sorted(texts, key=lambda text: (-len(text.text), text.text))
    return {text: tuple(row.name for row in TABLE if text in row.log_texts) for text in ordered}


def forms() -> tuple[HandedOverForm, ...]:
    """Every form of the handed-over data, oldest first."""
    final = (row.hands_over for row in TABLE if row.hands_over is not None)
    return tuple(dict.fromkeys((*(form for form, _ in EARLIER_FORMS), *final)))


def flb_names() -> dict[str, tuple[str, ...]]:
    """FLB name -> the layouts that went by it: the name alone does not identify a layout."""
    found: dict[str, tuple[str, ...]] = {}
    for form in forms():
        layouts = found.get(form.flb_name, ())
        if form.layout not in layouts:
            found[form.flb_name] = (*layouts, form.layout)
    return found


def versions(layout: str) -> tuple[int, ...]:
    """Values of the version field that data of that layout was written with, lowest first."""
    found = {
        version
        for form in forms()
        if form.layout == layout and form.version is not None
        for version in (*form.earlier_versions, form.version)
    }
    return tuple(sorted(found))


def users(layout: str) -> str:
    """Which trees write data of that layout, for messages."""
    for form, trees in EARLIER_FORMS:
        if form.layout == layout:
            return trees
    rows = where(lambda row: row.hands_over is not None and row.hands_over.layout == layout)
    return f"series {' and '.join(row.name for row in rows)}"
