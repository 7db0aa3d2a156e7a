"""What single kernel messages say about Live Update, enumeration, links and resets; whether a text has any.

The texts are those of the Live Update PCI series (analyzer.series), of LUO and KHO, and of Linux 7.3
(``pciehp``, ``AER``, ``DPC``, reset waits) with the older spellings. No message ever states an ARI value.
"""

from __future__ import annotations

import itertools
import re
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from analyzer import bdf
from analyzer.errors import UnsupportedFormatError
from analyzer.kernel_logs import log_lines
from analyzer.series import log_texts, names

if TYPE_CHECKING:
    from analyzer.kernel_logs.log_lines import KernelMessage

#: Cheap first look: a message without any of these holds no fact.
_MOST_INTERESTING = (
    r"Linux version|ommand line: |ive ?[Uu]pdate|Starting new kernel|[Rr]eboot|Kernel panic|never finished"
    r"|KHO: |elfcorehdr|bridge|bus numbers|Downstream devices|\] type |pciehp|DPC|AER|EDR|rror|: *\[ ?\d"
    r"|ready |Link Layer|has been reset|recovery|retrain|link speed|scan_all|FLB|Virtual Functions|ACS save"
    r"|KHO block|header type|LUO state|Max Payload Size set|^-- |SeaBIOS|BdsDxe|EFI stub|U-Boot|iPXE|coreboot"
)
_INTERESTING = re.compile(
    "|".join(
        (
            _MOST_INTERESTING,
            *(
                re.escape(message.text)
                for message in log_texts()
                if not re.search(_MOST_INTERESTING, message.text)
            ),
        )
    )
)

#: A device message: ``<driver> <dddd:bb:dd.f>: <text>`` (``dev_printk``).
_DEVICE = re.compile(r"(?:^|\s)([0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]): +(.*)")

#: Facts about one function, by how the text begins.
_ABOUT_FUNCTION = (
    ("will-be-preserved", "Device will be preserved across next Live Update"),
    ("no-longer-preserved", "Device will no longer be preserved across next Live Update"),
    ("was-preserved", "Device was preserved by previous kernel across Live Update"),
    ("finished", "Device is finished participating in Live Update"),
    ("invalid-bridge", "bridge configuration invalid ("),
    ("refused-bridge", "Cannot reconfigure bridge during Live Update"),  # whatever follows
    ("ignored-header", "unknown header type "),
    *((message.fact, message.text) for message in log_texts() if message.fact is not None),
)

#: Of these what says that a function is preserved: a serial console may lose a character of its address.
_PRESERVED = tuple(text for fact, text in _ABOUT_FUNCTION[:3] if fact != "no-longer-preserved")

#: Texts that only some versions of the series print, and which.
_SERIES_TEXTS = tuple((message.text, frozenset(versions)) for message, versions in log_texts().items())

#: What was handed over is not taken, and the kernel goes on as if there were nothing: LUO itself (Linux 7.3),
#: another FLB name (v4 to v7), data that could not be retrieved (v4 to v6; later versions panic).
_NOT_TAKEN = (
    "LUO state is incompatible with",
    "No incoming FLB matched",
    "Failed to retrieve incoming FLB data",
)

#: What Linux says of a function whose header type reads all ones, less its bit 7 (7.3 pci_setup_device).
_ALL_ONES = "unknown header type 7f, ignoring device"
#: Every fixed text by which a message is recognised.
FIXED_TEXTS = tuple(
    dict.fromkeys((_ALL_ONES, *(begin for _, begin in _ABOUT_FUNCTION), *(part for part, _ in _SERIES_TEXTS)))
)

_ENUMERATED = re.compile(r"\[([0-9a-f]{4}:[0-9a-f]{4})\] type ([0-9a-f]{2}) class (0x[0-9a-f]{6})(?: (.*))?")
_NEVER_FINISHED = re.compile(r"([0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]) was never finished!")
_LIVEUPDATE_NUMBER = re.compile(r"Retrieved live update data, liveupdate number: (-?\d{1,19})")
_EXEC_FROM = re.compile(r"KHO: exec from: (\S{1,64}) \(count (\d{1,10})\)")
_VERSION = re.compile(r"Linux version (\d\S{0,200}) .*")
_STARTING = re.compile(r"(?:kexec(?:_core)?: )?Starting new kernel")
_REBOOT = re.compile(
    r"reboot: (?:Restarting system|Power down|System halted|machine restart)|Rebooting in \d{1,9} seconds"
)
_FIRMWARE = re.compile(
    r"SeaBIOS \(version|BdsDxe: |EFI stub: |U-Boot (?:SPL )?\d{4}\.|iPXE (?:\d|initialising)|coreboot-\d"
)
_JOURNAL_BOOT = re.compile(r"-- (?:Boot [0-9a-f]{32}|Reboot) --")

#: Kinds of events, by a search in the text after the function's address; the first that fits.
_EVENTS = (
    ("hotplug", re.compile(r"^pciehp: Slot\(")),
    ("dpc", re.compile(r"^DPC: (?!enabled|error containment)|^EDR: EDR event received")),
    (
        "aer",
        re.compile(
            r"(?:PCIe|CXL) Bus Error: severity=|^AER: .{0,40}rror.{0,12} received"
            r"|device \[[0-9a-f]{4}:[0-9a-f]{4}\] error status/mask=|^(?:AER: )? *\[ ?\d{1,2}\] [A-Z]"
            r"|link has been reset|device recovery (?:failed|successful)"
        ),
    ),
    ("rrs", re.compile(r"^(?:not )?ready after \d{1,9}ms")),
    ("reset", re.compile(r"^(?:not )?ready \d{1,9}ms after |^Data Link Layer Link Active not set")),
    (
        "link",
        re.compile(
            r"retraining non-functional downstream link|downstream link speed restrict|^retraining fail"
        ),
    ),
    (
        "bridge",
        re.compile(
            r"^bridge configuration invalid \(|^Cannot reconfigure bridge|^Not assigning bus num"
            r"|^devices behind bridge are unusable because "
        ),
    ),
    ("payload", re.compile(r"^(?:Upstream bridge's )?Max Payload Size set to ")),
)


class Fact(NamedTuple):
    """What one message says.

    Attributes:
        kind: ``version``, ``cmdline``, ``kernel-cmdline``, ``kexec``, ``reboot``, ``panic``, ``firmware``,
            ``journal-boot``, ``kho``, ``exec-from``, ``kdump``, ``liveupdate``, ``no-data`` (what was handed
            over is not taken), ``elfcorehdr``, ``scan-all``, ``enumerated``, a fact about a function
            (``will-be-preserved``, ``was-preserved``, ``ignored-header``, ...), ``unnamed-preserved`` (a
            function is preserved whose address is damaged), or ``event``.
        function: key of the function it is about, or None.
        text: what belongs to the kind: the version text, command line, liveupdate number, release and count
            of ``exec-from``, or the message.
        event: kind of the event that it is besides (``aer``, ``dpc``, ``hotplug``, ``reset``, ``rrs``,
            ``link``, ``bridge``, ``payload``, ``panic``), or None.
        series: the versions of the series that print it, or None where all or none do.
    """

    kind: str
    function: int | None
    text: str
    event: str | None = None
    series: frozenset[str] | None = None


def enumerated(text: str) -> tuple[str, int, int, str] | None:
    """Vendor:device, header type, class code and kind out of an ``enumerated`` fact's text."""
    match = _ENUMERATED.match(text)
    return (match[1], int(match[2], 16), int(match[3], 16), match[4] or "") if match else None


def shows_all_ones(fact: Fact) -> bool:
    """Whether an ``ignored-header`` fact says that every bit of the header type read as 1."""
    return fact.kind == "ignored-header" and fact.text.startswith(_ALL_ONES)


def release(version_text: str) -> str | None:
    """Kernel release out of a ``version`` fact's text."""
    match = _VERSION.match(version_text)
    return match[1] if match else None


def fixed_texts(text: str) -> list[str]:
    """Every fixed text that a message has in it, but those that are part of another one."""
    found = [part for part in FIXED_TEXTS if part in text]
    return [part for part in found if not any(part in other for other in found if other != part)]


def common_series(evidence: list[frozenset[str]]) -> tuple[str, ...]:
    """The versions that all evidence fits, oldest first; empty without evidence or where it disagrees."""
    if not evidence:
        return ()
    common = frozenset.intersection(*evidence)
    return tuple(version for version in names() if version in common)


@lru_cache(maxsize=1 << 14)
def read(text: str) -> Fact | None:
    """Return what a message says, or None if it is of no interest.

    The kernels of a fleet say the same over and over again, so that answers are remembered.
    """
    if not _INTERESTING.search(text):
        return None
    device = _DEVICE.search(text)
    if device is not None:
        return _about_function(bdf.parse(device[1]), device[2])
    if any(part in text for part in _PRESERVED):
        return Fact("unnamed-preserved", None, text)
    return _boundary(text) or _about_kernel(text)


def panics_over_data(text: str) -> bool:
    """Whether the text of a ``panic`` fact says that the handed-over data could not be taken."""
    return any(message.panic in ("retrieve", "version") and message.text in text for message in log_texts())


def _series(text: str) -> frozenset[str] | None:
    for part, versions in _SERIES_TEXTS:
        if part in text:
            return versions
    return None


def _about_function(function: int, text: str) -> Fact | None:
    if _ENUMERATED.match(text):
        return Fact("enumerated", function, text)
    event = next((kind for kind, pattern in _EVENTS if pattern.search(text)), None)
    series = _series(text)
    for kind, begin in _ABOUT_FUNCTION:
        if text.startswith(begin):
            return Fact(kind, function, text, event, series)
    return Fact("event", function, text, event, series) if event or series else None


def _boundary(text: str) -> Fact | None:
    """Messages that begin or end a kernel."""
    version = _VERSION.search(text)
    if version is not None:
        return Fact("version", None, version[0])
    for kind, begin in (("cmdline", "Command line: "), ("kernel-cmdline", "Kernel command line: ")):
        if text.startswith(begin):
            return Fact(kind, None, text.removeprefix(begin))
    if text.startswith("Kernel panic - not syncing"):
        return Fact("panic", None, text, "panic", _series(text))
    if _STARTING.fullmatch(text):
        return Fact("kexec", None, text)
    for kind, pattern in (("reboot", _REBOOT), ("firmware", _FIRMWARE), ("journal-boot", _JOURNAL_BOOT)):
        if pattern.match(text):
            return Fact(kind, None, text)
    return None


def _about_kernel(text: str) -> Fact | None:
    number = _LIVEUPDATE_NUMBER.search(text)
    if number is not None:
        return Fact("liveupdate", None, number[1])
    if "KHO: found kexec handover data" in text:
        return Fact("kho", None, text)
    previous = _EXEC_FROM.search(text)
    if previous is not None:
        return Fact("exec-from", None, f"{previous[1]} {previous[2]}")
    if "KHO: disabled in the kdump kernel" in text:
        return Fact("kdump", None, text)
    if text.startswith("PCI: ") and "enabling pci=pcie_scan_all" in text:
        return Fact("scan-all", None, text)
    if "eserving" in text and "for elfcorehdr" in text:
        return Fact("elfcorehdr", None, text)
    late = _NEVER_FINISHED.search(text)
    if late is not None:
        return Fact("never-finished", bdf.parse(late[1]), text, None, _series(text))
    series = _series(text)
    if any(part in text for part in _NOT_TAKEN):
        return Fact("no-data", None, text, None, series)
    return Fact("event", None, text, None, series) if series else None


#: Lines that are looked at: a log with so many before its first message is none.
_MOST_LINES = 100_000
#: Facts that other programs than a kernel write.
_OF_OTHERS = frozenset({"firmware", "journal-boot"})
#: syslog and journald name the kernel as the sender; ``dmesg -r`` and a console put facility 0 in front.
_SENT_BY_KERNEL = re.compile(rb"(?:^|[\s\]])kernel(?:\[\d{1,10}\])?: |^<[0-7]>\S")
#: ``dev_printk`` of a PCI function: ``<driver> <dddd:bb:dd.f>: ``.
_OF_A_FUNCTION = re.compile(r"(?:^| )[a-z][\w.-]{0,40} [0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]: ")
#: How messages begin that a kernel prints while it boots, as ``dmesg -t`` shows them (Linux 6.1 to 7.3).
_BOOT_MESSAGES = (
    "ACPI: ", "AMD-Vi: ", "BIOS-e820: ", "BIOS-provided physical RAM map:", "CPU: ", "DMAR: ", "DMI: ",
    "EXT4-fs ", "Freeing unused ", "IOMMU: ", "KERNEL supported cpus:", "KHO: ", "Kernel panic - ",
    "Memory: ", "NET: Registered ", "NX (Execute Disable) protection: ", "PCI host bridge to bus ", "PCI: ",
    "PM: ", "Run /", "SMBIOS ", "Zone ranges:", "clocksource: ", "e820: ", "efi: ", "iommu: ", "kexec: ",
    "liveupdate: ", "luo: ", "pci_bus ", "pcieport ", "printk: ", "random: crng ", "rcu: ", "smp: ",
    "smpboot: ", "tsc: ", "usb ", "vfio-pci ", "x86/",
)  # fmt: skip


def refuse_other_text(data: bytes, path: str) -> None:
    """Refuse what is not a kernel log; the error quotes nothing of it.

    Args:
        data: the whole text, decompressed.
        path: its file.

    Raises:
        UnsupportedFormatError: no line of it is a kernel message.
    """
    found = itertools.islice(log_lines.LINE.finditer(data), _MOST_LINES)
    if any(is_kernel_line(match[0]) for match in found):
        return
    lines = data.count(b"\n") + (not data.endswith(b"\n"))
    what = f"{'binary data' if bytes(1) in data else 'text'} of {lines} line{'s' * (lines != 1)}"
    raise UnsupportedFormatError(
        f"expected a kernel log, found {what}, none of them a kernel message",
        path=path,
        advice="save it with dmesg, journalctl -k, or from the serial console",
    )


def is_kernel_line(line: bytes) -> bool:
    """Whether a physical line holds a kernel message.

    That is one with printk's time, with the kernel as its sender, about a PCI function, that
    :func:`read` knows, or with one of the usual beginnings.
    """
    line = line[: log_lines.MAX_LINE]
    return bool(_SENT_BY_KERNEL.search(line)) or any(map(_is_kernel_message, log_lines.messages(line)))


def _is_kernel_message(message: KernelMessage) -> bool:
    if message.time_us is not None or message.text.startswith(_BOOT_MESSAGES):
        return True
    if _OF_A_FUNCTION.search(message.text):
        return True
    fact = read(message.text)
    return fact is not None and fact.kind not in _OF_OTHERS
