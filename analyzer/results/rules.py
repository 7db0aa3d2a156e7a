"""The finding codes: what each alarm means, where its rule comes from, and what to do.

Codes are stable: a code is never reused for another meaning, and a retired one stays in the table.
``--select`` and ``--ignore`` choose by them, ``analyze rule CODE`` prints them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from analyzer import series
from analyzer.errors import UsageError
from analyzer.results import state_rules
from analyzer.results.rule import Rule, Severity
from analyzer.version import ISSUES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from analyzer.results import BridgeVerdictName, DeviceReason

__all__ = ["RULES", "Rule", "Severity", "matching", "rule"]

_SPAN = series.span(series.TABLE)
_ASSIGNING = series.span(
    series.where(lambda row: row.bus_numbers is series.BusNumberRule.PRESERVED_BRIDGE_ON_BUS)
)
_REFUSING = series.span(series.printing("Cannot reconfigure bridge during Live Update"))
_NOT_ASSIGNING = series.span(series.printing("Not assigning bus numbers, preserved bridge "))
_ARI_PATCH = (
    f"Linux Live Update series {_SPAN}, the patch that inherits (v8 and later: adopts) ARI Forwarding "
    "Enable on preserved bridges; drivers/pci/probe.c and pci.c, pci_configure_ari()"
)
_BUS_NUMBERS = (
    f"drivers/pci/probe.c, pci_scan_bridge_extend(); Live Update series {_SPAN}, the patch that keeps bus "
    "numbers constant"
)
_DEVCTL2 = "PCI Express Base Specification, Device Control 2 Register (7.5.3.16) and ARI (6.13)"
_REPLAY = "the replay of pci_scan_slot() and next_fn() of Linux 7.3 drivers/pci/probe.c"

_TABLE = (
    Rule(
        "ARI001",
        "ARI Forwarding lost",
        "error",
        (
            "The outgoing kernel used ARI Forwarding on this bridge; the first read after the kexec shows "
            "bit 5 of Device Control 2 clear, and the incoming kernel enumerated without it. Functions that"
            " only ARI can address (usually devfn 8 and above) were not discovered. No kernel log says so."
        ),
        f"{_ARI_PATCH}. Bit 5 is not sticky: {_DEVCTL2}.",
        (
            "Look at the cause in the report and stop it (a tool that writes the register, firmware, a "
            "reset in the blackout). If preserved devices are stranded, reboot the host; setting the bit "
            "manually does not help."
        ),
    ),
    Rule(
        "ARI002",
        "ARI Forwarding lost and healed",
        "warning",
        (
            "Bit 5 was clear after the kexec, but the incoming kernel set it again before it enumerated. "
            "Nothing is stranded; a kernel that inherits the bit for preserved bridges would have left it "
            "clear."
        ),
        (
            "Linux 7.3 pci_configure_ari(): the stock path always writes bit 5 when function 0 has the ARI "
            f"capability. {_DEVCTL2}."
        ),
        (
            "Find the cause before this host runs a kernel with the Live Update rule: compare the policies "
            "in the report."
        ),
    ),
    Rule(
        "ARI003",
        "bridge lost its bus numbers and was left unconfigured",
        "error",
        (
            "The bridge came back with invalid bus numbers, the mark of a reset, and the incoming kernel "
            "refused to assign new ones during a Live Update. Its whole subtree is hidden, whatever ARI "
            "Forwarding says."
        ),
        (
            f"{_BUS_NUMBERS} (log line: 'Cannot reconfigure bridge during Live Update' in "
            f"{_REFUSING}, 'preserved bridge lost its bus number configuration' in {_NOT_ASSIGNING})."
        ),
        (
            "Every preserved device below was reset too: its state is gone. Reboot the host and find what "
            "reset the port."
        ),
    ),
    Rule(
        "ARI004",
        "bridge renumbered",
        "error",
        (
            "The bridge came back with invalid bus numbers and the incoming kernel gave it new ones: "
            "everything below was reset. Or the kernel numbers every bridge anew (pci=assign-busses; the "
            "report says so). The devices are found, possibly under other addresses than before."
        ),
        (
            f"Linux 7.3 pci_scan_bridge_extend(), second pass; Live Update series {_ASSIGNING} where no "
            "preserved bridge on that bus lost its numbers."
        ),
        (
            "Nothing that was configured by address before the kexec can be relied on. Find what reset the "
            "port, or remove pci=assign-busses from the command line."
        ),
    ),
    Rule(
        "ARI005",
        "bridge gone",
        "error",
        (
            "The bridge answered before the kexec and reads all ones after it. Its registers are unknown "
            "and its subtree is unreachable."
        ),
        "Linux 7.3 pci_bus_generic_read_dev_vendor_id(): 0xffffffff is an absent function.",
        "Check power and link of the slot and of every bridge above; then reboot.",
    ),
    Rule(
        "ARI006",
        "bridge hidden below a lost bridge",
        "error",
        (
            "A bridge above is unconfigured or gone, so the incoming kernel never saw this one. What its "
            "registers hold is unknown."
        ),
        _BUS_NUMBERS + ".",
        "See the finding of the ancestor: it is the cause.",
    ),
    Rule(
        "ARI007",
        "preserved device stranded",
        "error",
        (
            "The device was handed over by Live Update and the outgoing kernel had enumerated it, but the "
            "incoming kernel did not discover it: no driver, no file descriptor for its owner, and its "
            "DMA may go on."
        ),
        (
            f"{_REPLAY}; Live Update series {_SPAN}: a preserved device is matched when the scan reaches its "
            "address."
        ),
        (
            "See the bridge named in the finding. One stranded device blocks finishing the whole session: "
            "reboot."
        ),
    ),
    Rule(
        "ARI008",
        "ARI Forwarding cleared by the incoming kernel",
        "note",
        (
            "The hardware still had the bit; the incoming kernel cleared it because function 0 below the "
            "bridge shows no ARI capability. This is the normal rule for a bridge that is not preserved."
        ),
        "Linux 7.3 pci_configure_ari(), clear path (since commit b0cc6020e1cc).",
        (
            "If functions are missing, find out why function 0 shows no ARI capability (device swapped, "
            "extended config space not readable)."
        ),
    ),
    Rule(
        "ARI009",
        "ARI Forwarding ignored",
        "note",
        (
            "The hardware still has the bit, but the incoming kernel enumerated without ARI and wrote "
            "nothing: it runs with pci=noari, or function 0 below the bridge does not answer, or stopped "
            "answering before the kernel decided (the report says which)."
        ),
        (
            "Linux 7.3 pci_configure_ari(): pci=noari is tested first; Live Update series "
            f"{_SPAN}: after the inherit step, for bridges that are not preserved."
        ),
        "Remove pci=noari from the incoming kernel's command line, or find out what became of function 0.",
    ),
    Rule(
        "ARI010",
        "undetermined",
        "warning",
        "The deciding access is not in the capture. The report names it.",
        "This program's rule: unknown is never reported as clean.",
        "Record the missing access: capture both kernels whole, including the silent blackout between them.",
    ),
    Rule(
        "ARI011",
        "prediction and observation differ",
        "warning",
        (
            "The functions that the replay of the kernel's rules predicts are not the ones that the "
            "incoming kernel enumerated. Unless the difference is explained, the verdict of this capture "
            "cannot be fully trusted."
        ),
        f"{_REPLAY}, compared with the functions the kernel read.",
        (
            "Check --policy, --series, --preserved and --cmdline. If they are right, please report the "
            f"capture at {ISSUES}."
        ),
    ),
    Rule(
        "ARI012",
        "ACS isolation lost: reported as STATE003",
        "error",
        "Another name of STATE003, which --select and --ignore still take.",
        "See 'analyze rule STATE003'.",
        "Use STATE003.",
    ),
    Rule(
        "ARI013",
        "Bus Master lost on a preserved bridge: reported as STATE011",
        "error",
        "Another name of STATE011, which --select and --ignore still take.",
        "See 'analyze rule STATE011'.",
        "Use STATE011.",
    ),
    Rule(
        "ARI014",
        "other state lost",
        "note",
        "Another register that the outgoing kernel had set reads its default after the kexec.",
        "PCI Express Base Specification, conventional reset (6.6.1).",
        "Supports a reset as the cause; nothing to do by itself.",
    ),
    Rule(
        "ARI015",
        "device missing",
        "note",
        (
            "The outgoing kernel had enumerated this function and the incoming kernel did not discover it; "
            "it was not preserved."
        ),
        _REPLAY + ".",
        "Rescan or reboot when convenient.",
    ),
    Rule(
        "ARI016",
        "ARI Forwarding gained",
        "note",
        "ARI Forwarding was off before the kexec and the incoming kernel uses it: more functions may appear.",
        "Linux 7.3 pci_configure_ari(), set path.",
        "Nothing to do.",
    ),
    Rule(
        "ARI017",
        "incoming kernel panicked over the handed-over data",
        "error",
        (
            "The incoming kernel could not take the data that Live Update handed over, or it has another "
            "version, and the kernel panicked while it set up the first function. It enumerated nothing "
            "after that one, so every preserved device is stranded; there is this one finding, not one for "
            "each device and bridge."
        ),
        (
            f"Live Update series {series.span(series.panicking('retrieve'))}, pci_liveupdate_setup_device(), "
            "called by drivers/pci/probe.c pci_setup_device() after the class dword; pci_flb_retrieve()."
        ),
        (
            "Boot the host through its firmware. Before the next Live Update, take an incoming kernel that "
            "knows the version of the outgoing kernel's data."
        ),
    ),
    Rule(
        "ARI018",
        "PCIe error recorded",
        "warning",
        (
            "An error status register of the function was clear before the kexec and shows an error at the "
            "incoming kernel's first read. A warning is a fatal error that is not masked; other errors, and "
            "unsupported requests, occur on healthy hosts too. No PCIe error clears ARI Forwarding alone."
        ),
        (
            "Linux 7.3 drivers/pci/pcie/aer.c, pci_aer_init(): the status is read and then cleared at scan. "
            "PCI Express 7.8.4: status bits are sticky; 6.2: what signals them."
        ),
        (
            "Compare the window in the report with the time of the loss. A fatal error on a port above goes "
            "with a link that was reset; look at the link, its power and its devices."
        ),
    ),
)

RULES: dict[str, Rule] = {rule.code: rule for rule in (*_TABLE, *state_rules.TABLE)}
#: Codes that are reported under another one, by which they can still be chosen.
ALIASES = {"ARI012": "STATE003", "ARI013": "STATE011"}

#: The code that a bridge verdict raises; verdicts without one are no finding.
BRIDGE_CODES: dict[BridgeVerdictName, str] = {
    "lost": "ARI001",
    "healed": "ARI002",
    "unconfigured": "ARI003",
    "renumbered": "ARI004",
    "gone": "ARI005",
    "hidden": "ARI006",
    "cleared": "ARI008",
    "ignored": "ARI009",
    "undetermined": "ARI010",
    "gained": "ARI016",
}
#: Why a function was not discovered, in words.
REASONS: dict[DeviceReason, str] = {
    "ari-off": "only ARI can address it and ARI is off",
    "bridge-unconfigured": "its bridge has no bus numbers",
    "bridge-gone": "its bridge does not answer",
    "ancestor-hidden": "a bridge further up is unconfigured or gone",
    "chain-broken": "the next-function chain does not reach it",
    "function-0-absent": "function 0 of its bus does not answer, or the kernel ignores it",
    "function-0-not-ari": "function 0 of its bus shows no ARI capability",
    "noari": "the incoming kernel runs with pci=noari",
    "no-response": "it does not answer",
    "unknown-header-type": "it answers with a header type that Linux does not know, and ignores",
    "kernel-panicked": "the incoming kernel panicked before its scan got there",
    "not-listed": "the snapshot or log taken after the kexec does not list it",
    "virtual-function": (
        "it is a virtual function, which no series preserves: the incoming kernel clears VF Enable"
    ),
    "never-seen": "in the preserved set but never enumerated by the outgoing kernel",
    "not-captured": "the deciding accesses are not in the capture",
}

#: Cause of new bus numbers that no loss explains (``BridgeVerdict.cause_note``).
BY_ASSIGN_BUSSES = (
    "pci=assign-busses: the incoming kernel numbers every bridge, also those with valid bus numbers"
)
STRANDED, UNDETERMINED, DIVERGENCE, MISSING = "ARI007", "ARI010", "ARI011", "ARI015"
PANICKED = "ARI017"
SECONDARY_CODES = {"acs-lost": "STATE003", "bus-master-lost": "STATE011", "error-status": "ARI018"}
#: Kinds of secondary observations that the state watch compares too: one finding for both.
WATCHED_KINDS = frozenset({"acs-lost", "bus-master-lost"})
OTHER_SECONDARY = "ARI014"
#: Kinds of secondary observations of one field of a watched register: the code of the state watch, and the
#: field as its rows name it. What such a row says is not said again.
WATCHED_FIELDS = {"sriov-hierarchy-lost": ("STATE006", "ARIHierarchy")}


def rule(code: str) -> Rule:
    """Return what a finding's code means; upper and lower case are the same.

    Raises:
        UsageError: no such code.
    """
    try:
        return RULES[code.upper()]
    except KeyError:
        raise UsageError(f"there is no finding code {code!r}", advice="'analyze rule' lists them") from None


def matching(prefixes: Iterable[str]) -> frozenset[str]:
    """Return the codes that start with one of ``prefixes`` (``ARI00`` means all of them, as in ruff).

    With an alias comes the code that it is reported under.

    Raises:
        KeyError: a prefix that no code starts with; its argument is the prefix.
    """
    found: set[str] = set()
    for prefix in prefixes:
        codes = [code for code in RULES if prefix and code.startswith(prefix.upper())]
        if not codes:
            raise KeyError(prefix)
        found.update(codes, (ALIASES[code] for code in codes if code in ALIASES))
    return frozenset(found)
