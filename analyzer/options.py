"""The options of the analysis; the command line and the library share this object."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from analyzer import series

if TYPE_CHECKING:
    from collections.abc import Mapping

#: What ``--kexec-at`` takes: the number of an access, or ns since 1970, 19 digits today.
_BOUNDARY = re.compile(r"(access|time):([0-9]{1,19})")

PolicyChoice = Literal["observed", "stock", "inherit", "serialize", "heal"]


@dataclass(frozen=True)
class Options:
    """Options of the main job (interface: options of the main job), already parsed to types.

    Attributes:
        policy: the one that verdicts are given under; ``observed`` = the one the incoming kernel followed.
        series: version of the Live Update patches, by its name in
            :data:`analyzer.series.TABLE`; None = recognise, else the newest.
        preserved: text of ``--preserved`` (``[KEXEC:]BDF,…`` or ``@FILE``), or None.
        flb: path of a raw kernel dump of the preserved set, or None; ``flb_name`` its FLB name if known.
        dmesg: path of a kernel log of one or both kernels, or None.
        cmdline: the incoming kernel's command line (or ``@FILE``) where nothing else says it, or None.
        assume_preserved: take every function seen below an ARI bridge as preserved.
        kexec_at: explicit boundaries, each ``access:N`` or ``time:NS``.
        join: the captures are consecutive pieces of one history.
        seed: path of a snapshot of the machine as the (first) capture begins, or None.
        field_map: names of fields in a capture that differ from the usual ones.
        ecam_base: physical address of the ECAM window, or None.
        guest: of a recording of several guests, the pid of the one that is meant, or None.
        threads: the threads of that guest, once a first reading has found them.
        input_format: name of the format of every capture (:data:`analyzer.readers.formats.READ`); None = by
            content.
        bdf: key of the function whose config file a capture is, where its name does not say it, or None.
        linktype_raw_tlp: pcap link type whose packets are bare TLPs, or None.
        strict: a healed loss counts as a loss.
        selected: finding codes that count; None = all.

    Raises:
        UsageError: a series that the program does not know.
    """

    policy: PolicyChoice = "observed"
    series: str | None = None
    preserved: str | None = None
    flb: str | None = None
    flb_name: str | None = None
    dmesg: str | None = None
    cmdline: str | None = None
    assume_preserved: bool = False
    kexec_at: tuple[str, ...] = ()
    join: bool = False
    seed: str | None = None
    field_map: Mapping[str, str] = field(default_factory=dict)
    ecam_base: int | None = None
    guest: int | None = None
    threads: frozenset[int] = frozenset()
    input_format: str | None = None
    bdf: int | None = None
    linktype_raw_tlp: int | None = None
    strict: bool = False
    selected: frozenset[str] | None = None
    #: What was read from the files that they name (:mod:`analyzer.readers.small_files`).
    contents: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Refuse a series that the program does not know."""
        if self.series is not None:
            series.named(self.series)

    @property
    def files(self) -> list[str]:
        """Paths of the files that options name."""
        texts = (self.preserved, self.cmdline)
        listed = [text[1:] for text in texts if text is not None and text.startswith("@")]
        return [*(path for path in (self.dmesg, self.flb, self.seed) if path is not None), *listed]


def explicit_boundary(text: str) -> tuple[str, int] | None:
    """Read a text of ``kexec_at``: ``access`` or ``time``, and the number; None if it is of another form."""
    match = _BOUNDARY.fullmatch(text)
    return (match[1], int(match[2])) if match else None
