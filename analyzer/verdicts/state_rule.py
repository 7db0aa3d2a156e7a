"""The rule of the state watch: what became of one watched register, out of what the accesses show of it.

Pure: facts in, word out. The comparison is that of docs/state.md: the outgoing kernel's last value against
the incoming kernel's first read, before its own write.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from analyzer.results.state import StateVerdictName
    from schemas.state_watch import StateSeverity, WatchedState


class StateFacts(NamedTuple):
    """What the accesses show of one watched state of one function; values are its bits in the register.

    Attributes:
        state: which bits of which register.
        known: the bits that both kernels show; the others are 0 in all values.
        held: as the outgoing kernel last read or wrote them.
        first: as the incoming kernel first read them, before it wrote them.
        used: as they were before a write of the outgoing kernel cleared some of them; None: none did.
        written: as the incoming kernel's scan left them; None where it did not write them.
        set_again: the incoming kernel wrote what was held.
        from_dump: the incoming kernel's values are a dump, made at some time after the kexec.
        was_reset: the outgoing kernel itself reset the function after it last accessed the register.
        whole: no access is known to be missing from the capture.
        shutdown_known: how the outgoing kernel ended is in the capture.
    """

    state: WatchedState
    known: int
    held: int
    first: int
    used: int | None = None
    written: int | None = None
    set_again: bool = False
    from_dump: bool = False
    was_reset: bool = False
    whole: bool = True
    shutdown_known: bool = True

    @property
    def differing(self) -> int:
        """Bits that differ across the kexec."""
        return (self.held ^ self.first) & self.known


def verdict(facts: StateFacts) -> StateVerdictName:
    """Return what became of it.

    ``expected``: the outgoing kernel's shutdown (Linux 7.3 pci_device_shutdown), or VFIO's freeze, which
    resets the function and writes Command = 0x0400, changed it. ``cleared``: it survived, and the incoming
    kernel's scan changed it (pci_msi_init, sriov_init, pci_configure_mps). ``lost``: what differs has its
    value after a conventional reset (PCI Express 6.6.1), or of a link less than before.
    """
    state, differing = facts.state, facts.differing
    if state.at_shutdown and not facts.shutdown_known:
        return "undetermined"
    if differing:
        if facts.was_reset:
            return "expected"
        if facts.from_dump or not facts.whole:
            return "undetermined"
        if facts.set_again and _was_without(facts):
            return "healed"
        return "lost" if _is_loss(facts) else "changed"
    if facts.known != state.mask:
        return "undetermined"
    if facts.written is not None and (facts.written ^ facts.held) & facts.known & of_interest(facts):
        return "cleared"
    if facts.used is not None and (facts.used & ~facts.held) & facts.known:
        return "expected"
    return "kept" if facts.whole else "undetermined"  # it may have been lost, and set again, in between


def _is_loss(facts: StateFacts) -> bool:
    state, differing = facts.state, facts.differing
    if state.is_status:
        return facts.first & facts.known < facts.held & facts.known
    return state.is_reset(facts.first, facts.known if state.is_number else differing)


def _was_without(facts: StateFacts) -> bool:
    """Of flags: one that was on read off. Else the incoming kernel cleared what nobody had set before."""
    return not clears_flags(facts.state) or bool(facts.held & facts.differing)


#: Codes of states that the incoming kernel may write as it likes: addresses are its to assign, and what it
#: switches on (Extended Tag, LTR) is no loss.
_ITS_OWN = frozenset({"STATE009", "STATE010", "STATE014", "STATE015"})
#: Of numbers that it tunes, and of addresses.
_TUNED, _ADDRESSES = "STATE005", "STATE009"


def clears_flags(state: WatchedState) -> bool:
    """Whether the incoming kernel's own write of 0 to a flag that survived is worth a word."""
    return state.code not in _ITS_OWN and state.code != _TUNED


def of_interest(facts: StateFacts) -> int:
    """Bits that the incoming kernel's own write may have taken from what survived.

    Of flags those that were on; where the kernel tunes a number (Max Payload Size), all.
    """
    if facts.state.code == _TUNED:
        return facts.state.mask
    return facts.held if clears_flags(facts.state) else 0


def severity(state: WatchedState, word: StateVerdictName, *, preserved: bool) -> StateSeverity:
    """Return what a verdict weighs: that of its declaration where a preserved function lost the state.

    Less on a function that was not handed over, which the incoming kernel sets up from nothing; where the
    incoming kernel set the state again (it was without it in between; a BAR says that the function was reset,
    so that its other state is gone too); and where its own write, by its rule, changed it.
    """
    if not preserved or word in ("expected", "undetermined", "kept"):
        return "note"
    if word == "cleared":
        return state.severity if state.kept_by_kernel else "note"
    if word == "healed":
        return "warning" if state.severity == "alarm" and state.code != _ADDRESSES else state.severity
    return state.severity
