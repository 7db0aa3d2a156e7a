"""Kernel messages that may be shown: each is rewritten from what is known to be harmless.

A message keeps its time, the function that it is about, and the phrases of the kernel in :data:`_PHRASES`
with the numbers in them; host name, syslog or journald fields and everything else around them are left out.
A message without such phrases keeps the fixed text that shows its kind. What is written is read again: a
message that would then say anything else is left out, and :mod:`analyzer.converting.proof` checks whether
that matters.

Sources of the phrases: Linux 7.3 ``drivers/pci/probe.c``, ``pci.c``, ``quirks.c``, ``hotplug/pciehp_ctrl.c``,
``pcie/aer.c``, ``pcie/dpc.c``, ``include/ras/ras_event.h``, with the older spellings.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from analyzer import bdf
from analyzer.kernel_logs import cmdline, log_facts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.kernel_logs.log_facts import Fact

#: Replaces a text that was removed.
REMOVED: Final = "(removed)"

#: A kernel release as kernel.org numbers it, without what a builder appends.
_RELEASE: Final = re.compile(r"\d{1,3}(?:\.\d{1,3}){0,2}(?![\d])(?:-rc\d{1,2}(?![\w]))?")
#: Drivers that may precede a function's address; any other is replaced by ``pci``.
DRIVERS: Final = frozenset(
    {"e1000e", "i40e", "ice", "igb", "ixgbe", "mlx5_core", "nvme", "pci", "pci-stub", "pcieport", "vfio-pci",
     "virtio-pci"}
)  # fmt: skip
_DRIVER: Final = re.compile(r"([\w-]{1,32}) [0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]: ")

#: Options of ``pci=`` without a value of their own (Documentation/admin-guide/kernel-parameters.txt).
_PCI_OPTIONS: Final = frozenset(
    {"assign-busses", "big_root_window", "conf1", "conf2", "earlydump", "noacpi", "noaer", "nobar", "nocrs",
     "nodomains", "noearly", "nommconf", "nomsi", "noats", "norom", "off", "pcie_bus_peer2peer",
     "pcie_bus_perf", "pcie_bus_safe", "pcie_bus_tune_off", "realloc", "realloc=off", "realloc=on",
     "rom", "skip_isa_align", "use_crs", "usepirqmask"}
)  # fmt: skip
#: Options that the kernel knows by how they begin.
_PCI_BEGINNINGS: Final = ("noari", "pcie_scan_all")
#: Command lines from this length on may be cut by printk, so their length is kept.
_LONG: Final = 1000

_AER_SHORT: Final = (
    "ACSViol|AdvNonFatalErr|AtomicOpBlocked|BadDLLP|BadTLP|BlockedTLP|CmpltAbrt|CmpltTO|CorrIntErr|DLP|ECRC|"
    "FCP|HeaderOF|MalfTLP|NonFatalErr|PoisonTLPBlocked|Rollover|RxErr|RxOF|SDES|TLPBlockedErr|TLP|Timeout|"
    "UncorrIntErr|UnsupReq|UnxCmplt"
)
_AER_LONG: Final = (
    "ACS Violation|Advisory Non-Fatal(?: Error)?|AtomicOp Egress Blocked|Bad DLLP|Bad TLP|Completer Abort|"
    "Completion Timeout|Corrected Internal(?: Error)?|Data Link Protocol(?: Error)?|ECRC Error|"
    "Flow Control Protocol(?: Error)?|Header Log Overflow|MC Blocked TLP|Malformed TLP|Poisoned TLP|"
    "RELAY_NUM Rollover|Receiver Error|Receiver Overflow|Replay Timer Timeout|Surprise Down(?: Error)?|"
    "TLP Prefix Blocked(?: Error)?|Uncorrectable Internal(?: Error)?|Unexpected Completion|"
    "Unsupported Request(?: Error)?"
)
_SEVERITY: Final = (
    r"(?:Uncorrect(?:ed|able) \((?:Non-)?Fatal\)|Uncorrected, non-fatal|Correct(?:ed|able)|Fatal|Unknown)"
)
_RESETS: Final = "AF_FLR|DPC|FLR|PM D3hot->D0|bus reset|resume|slot reset"
#: Longer texts first where one begins with another.
_PHRASES: Final = re.compile(
    "|".join(
        (
            *(re.escape(text) for text in sorted(log_facts.FIXED_TEXTS, key=len, reverse=True)),
            r"(?<=\(v)\d{1,3}\)",
            r"\[bus [0-9a-f]{2}-[0-9a-f]{2}\]\)?(?:, reconfiguring)?",
            r"lost its bus number configuration",
            r"unknown header type [0-9a-f]{2}, ignoring device",
            r"devices behind bridge are unusable because (?:\[bus [0-9a-f]{2}(?:-[0-9a-f]{2})?\])?",
            r"cannot be assigned for them",
            r"(?:Upstream bridge's )?Max Payload Size set to +\d{1,5} \(was +\d{1,5}, max +\d{1,5}\)",
            # A function as enumerated.
            r"\[[0-9a-f]{4}:[0-9a-f]{4}\] type [0-9a-f]{2} class 0x[0-9a-f]{6}",
            r"PCIe (?:(?:Legacy )?Endpoint|Root Port|Switch (?:Up|Down)stream Port|unknown)",
            r"PCIe Root Complex (?:Integrated Endpoint|Event Collector)|PCIe to PCI/PCI-X bridge",
            r"PCI/PCI-X to PCIe bridge|conventional PCI (?:endpoint|bridge)|conventional PCI|CardBus bridge",
            # Hot-plug.
            r"pciehp: Slot\((?:\d{1,5}(?:-\d{1,5})?\))?",
            r"Link (?:Down/Up|Down|Up)\b(?: ignored\b)?(?: \(recovered by DPC\))?",
            r"Card (?:not )?present\b|Attention button pressed|Power fault|No device found|No link",
            r"(?:pci_hp_event|pcie_link_event|aer_event):",
            r"\bslot:\d{1,5}(?:-\d{1,5})?\b|\bevent:(?:LINK|CARD)(?:_NOT)?_(?:UP|DOWN|PRESENT)\b",
            r"\b(?:type|reason|cur_bus_speed|max_bus_speed|width|flit_mode):\d{1,3}\b",
            r"\bstatus:(?:(?:LT|DLLLA|LBMS|LABS)\b\|?)+",
            # DPC and EDR.
            r"DPC: |containment event|unmasked uncorrectable error detected|EDR: EDR event received",
            r"\b(?:status|source):0x[0-9a-f]{1,4}\b|ERR_(?:NON)?FATAL\b",
            # AER.
            rf"AER: (?:Multiple )?{_SEVERITY} [eE]rror(?: messages?)? received",
            r"AER: |link has been reset(?: \(-?\d{1,3}\))?|Root Port\b",
            r"device recovery (?:failed|successful)",
            rf"(?:PCIe|CXL) Bus Error: severity={_SEVERITY}?",
            r"\btype=(?:Inaccessible|Physical Layer|Data Link Layer|Transaction Layer)",
            r"\((?:Receiver|Transmitter|Requester|Completer) ID\)|\(First\)",
            r"device \[[0-9a-f]{4}:[0-9a-f]{4}\] error status/mask=[0-9a-f]{8}/[0-9a-f]{8}\b",
            r"device \[[0-9a-f]{4}:[0-9a-f]{4}\] error status/mask=",
            rf"\[ ?\d{{1,2}}\] (?:(?:{_AER_SHORT}|{_AER_LONG})\b|[A-Z])",
            rf"\b(?:{_AER_LONG})\b",
            # Resets and links.
            r"(?:not )?ready after \d{1,9}ms",
            rf"(?:not )?ready \d{{1,9}}ms after (?:(?:{_RESETS})\b)?",
            r"; (?:giving up|waiting)",
            r"Data Link Layer Link Active not set(?: in \d{1,6} msec)?",
            r"(?:broken device, )?retraining non-functional downstream link(?: at \d{1,2}(?:\.\d)?GT/s)?",
            r"(?:removing \d{1,2}(?:\.\d)?GT/s )?downstream link speed restrict(?:ion)?",
            r"retraining fail(?:ed)?",
            # Functions that a message names.
            r"(?<![\w:.-])(?:[0-9a-f]{4,8}:)?[0-9a-f]{2}:[01][0-9a-f]\.[0-7](?![\w:.-])",
            r"\b(?:received )?from\b(?= (?:[0-9a-f]{4,8}:)?[0-9a-f]{2}:[01][0-9a-f]\.[0-7](?![\w:.-]))",
        )
    )
)  # fmt: skip
_GAP: Final = re.compile(r"[ ,:;]{1,3}")

#: Replaces the text of an event without known phrases.
_EVENTS: Final = {
    "aer": "AER: error received",
    "bridge": "Cannot reconfigure bridge",
    "dpc": f"DPC: {REMOVED}",
    "hotplug": "pciehp: Slot(",
    "link": "retraining failed",
    "payload": "Max Payload Size set to ",
    "reset": "Data Link Layer Link Active not set",
    "rrs": "not ready after 0ms",
}
#: Messages that are recognised by their beginning.
_BEGINNINGS: Final = re.compile(
    r"reboot: (?:Restarting system|Power down|System halted|machine restart)|Rebooting in \d{1,9} seconds"
    r"|SeaBIOS \(version|BdsDxe: |EFI stub: |U-Boot (?:SPL )?\d{4}\.|iPXE (?:\d|initialising)|coreboot-\d"
    r"|(?:kexec(?:_core)?: )?Starting new kernel"
)


def plain_release(text: str) -> str:
    """Return the numbers of a kernel release, ``6.12.0`` of ``6.12.0-acme-prod``; "0" if it has none."""
    match = _RELEASE.match(text)
    return match[0] if match else "0"


def phrases(text: str) -> str:
    """Return the known phrases of a text in order, and nothing else; empty if it has none."""
    parts: list[str] = []
    end = 0
    for match in _PHRASES.finditer(text):
        gap = text[end : match.start()]
        if parts:
            parts.append(gap if not gap or _GAP.fullmatch(gap) else " ")
        parts.append(match[0])
        end = match.end()
    return re.sub(r" {2,}", " ", "".join(parts)).strip()


class Messages:
    """Rewrites kernel messages; kernels and command lines that differ still differ afterwards."""

    def __init__(self) -> None:
        self._builds: dict[str, int] = {}
        self._lines: dict[str, int] = {}

    def message(self, text: str) -> str | None:
        """Return what may be shown of a message, None if it is not used or cannot be shown."""
        fact = log_facts.read(text)
        if fact is None:
            return None
        for candidate in self._candidates(text, fact):
            again = log_facts.read(candidate.rstrip())
            if again is not None and _same(again, fact):
                return candidate.rstrip()
        return None

    def _candidates(self, text: str, fact: Fact) -> Iterator[str]:
        """Texts with the same meaning, the most complete first."""
        if fact.kind == "version":
            yield self._version(fact.text)
        elif fact.kind == "cmdline":
            yield self._command_line("Command line: ", fact.text)
        elif fact.kind == "kernel-cmdline":
            yield self._command_line("Kernel command line: ", fact.text)
        elif fact.function is not None:
            yield from _of_function(text, fact)
        else:
            yield from _of_kernel(text, fact)

    def _version(self, text: str) -> str:
        number = self._builds.setdefault(text, len(self._builds) + 1)
        return f"Linux version {plain_release(log_facts.release(text) or '')} (build {number})"

    def _command_line(self, begin: str, text: str) -> str:
        """The parameters that the analysis uses, and a number for the whole line."""
        body = text.removesuffix(" \\")
        wrapped = text[len(body) :]
        given = cmdline.parameters(body)
        kept = [shown for name, value in given if (shown := _parameter(name, value)) is not None]
        written = {name if value is None else f"{name}={value}" for name, value in given}
        # A line without any parameter would not be read as a command line.
        if not kept or written - set(kept):
            number = self._lines.setdefault(body, len(self._lines) + 1)
            kept.append(REMOVED if number == 1 else f"(removed-{number})")
        line = begin + " ".join(kept)
        length = len(begin) + len(body)
        if length >= _LONG:
            line += " " + "." * (length - len(line) - 1)
        return line.rstrip() + wrapped


def _parameter(name: str, value: str | None) -> str | None:
    """A parameter as it may be shown, or None."""
    if name == "elfcorehdr":
        return name
    if name != "pci" or value is None:
        return None
    words = []
    for option in value.split(","):
        known = next((begin for begin in _PCI_BEGINNINGS if option.startswith(begin)), option)
        if known in _PCI_BEGINNINGS or known in _PCI_OPTIONS:
            words.append(known)
    return f"pci={','.join(words)}" if words else None


def _of_function(text: str, fact: Fact) -> Iterator[str]:
    driver = _DRIVER.search(text)
    name = driver[1] if driver and driver[1] in DRIVERS else "pci"
    place = bdf.text(fact.function or 0)
    head = f"{name} {place}: "
    # The text after the address; a message without any names its function in the sentence.
    said = phrases(fact.text)
    yield head + said
    yield f"{head}{said} {REMOVED}"
    if fact.kind == "never-finished":
        yield f"PCI: liveupdate: {place} was never finished!"
    if fact.event is not None:
        fixed = phrases(" ".join(log_facts.fixed_texts(fact.text)))
        yield f"{head}{_EVENTS.get(fact.event, '')} {fixed}".rstrip()


def _of_kernel(text: str, fact: Fact) -> Iterator[str]:
    if fact.kind == "journal-boot":
        yield "-- Reboot --" if text.startswith("-- Reboot") else f"-- Boot {'0' * 32} --"
    elif fact.kind == "kho":
        yield "KHO: found kexec handover data."
    elif fact.kind == "liveupdate":
        yield f"luo: Retrieved live update data, liveupdate number: {fact.text}"
    elif fact.kind == "exec-from":
        release, _, count = fact.text.partition(" ")
        yield f"KHO: exec from: {plain_release(release)} (count {count})"
    elif fact.kind == "kdump":
        yield "KHO: disabled in the kdump kernel"
    elif fact.kind == "no-data":
        yield phrases(text) or "luo: LUO state is incompatible with"
    elif fact.kind == "elfcorehdr":
        yield "Reserving memory for elfcorehdr"
    elif fact.kind == "scan-all":
        yield "PCI: enabling pci=pcie_scan_all"
    elif fact.kind == "panic":
        said = phrases(" ".join(log_facts.fixed_texts(fact.text)))
        said = said.removeprefix("not syncing: ")
        yield f"Kernel panic - not syncing: {said}" if said else "Kernel panic - not syncing"
    elif fact.kind in ("kexec", "reboot", "firmware"):
        match = _BEGINNINGS.match(text)
        if match is not None:
            yield match[0]
            yield match[0] + REMOVED
    else:
        yield phrases(text)


def _same(one: Fact, two: Fact) -> bool:
    """Whether two messages say the same about the same function or kernel."""
    return one[:2] == two[:2] and one.event == two.event and one.series == two.series
