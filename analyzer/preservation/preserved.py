"""Which functions Live Update hands over at a kexec: the first source that is given wins, else assumed.

Order (interface: preserved set): ``--preserved``, ``--flb``, ``--dmesg``, the capture's own chunk, sidecars
NAME.preserved / NAME.flb / NAME.dmesg, else *assumed* from what the outgoing kernel used ARI for.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from analyzer import bdf
from analyzer.capture.sidecars import beside
from analyzer.errors import DamagedInputError, EmptyInputError, UsageError
from analyzer.readers.small_files import DUMP_LIMIT, of_option, read_limited, read_text
from analyzer.results import LIVE_UPDATE_POLICIES
from schemas.pcie_capability import DOWNSTREAM_TYPES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from analyzer.capture import Capture
    from analyzer.kernel_logs.kernel_log import RunsAt
    from analyzer.observed.decisions import Decision
    from analyzer.observed.register_state import OutgoingState
    from analyzer.observed.registers.functions import Function
    from analyzer.observed.topology import Topology
    from analyzer.options import Options
    from analyzer.results import ObservedPolicy, PreservedSource

#: Kexec number -> what a source says of it, or None.
Ask: TypeAlias = "Callable[[int], PreservedAnswer | None]"

_TEXT_LIMIT = 16 << 20
#: Rules that a kernel follows on preserved bridges alone.
_ADOPTING = frozenset({"inherit", "restore"})
#: Rules that a kernel follows on bridges that were not handed over to it.
_RULES_OF_OTHERS = frozenset({"set", "clear", "untouched", "skipped"})
_UNNAMED = (
    "the preserved set may lack a function, whose loss would be reported as not preserved: its address in the"
    " kernel's log is damaged: {!r}; name it with --preserved"
)
_SHOWN = 120
_FORM = "[KEXEC:]dddd:bb:dd.f"


@dataclass(frozen=True)
class HandedOver:
    """Form of the kernel data that carried a set: layout tag, version field, FLB name if known."""

    layout: str
    version: int | None
    name: str


@dataclass(frozen=True)
class PreservedAnswer:
    """What one source says of one kexec; ``may_lack``: it may have named further functions."""

    keys: frozenset[int]
    handed_over: HandedOver | None = None
    warnings: tuple[str, ...] = ()
    may_lack: bool = False


@dataclass(frozen=True)
class PreservedSet:
    """The functions handed over at one kexec.

    Attributes:
        keys: their keys under the outgoing kernel's numbering, bridges included.
        source: where the set comes from.
        warnings: disagreements between sources, for the report.
        handed_over: form of the kernel data, where the set comes from such data.
        may_lack: the source named functions that cannot be read.
    """

    keys: frozenset[int]
    source: PreservedSource
    warnings: tuple[str, ...] = ()
    handed_over: HandedOver | None = None
    may_lack: bool = False


@dataclass(frozen=True)
class PreservedSources:
    """The sources of one capture, opened once; each answers for the kexec of a given number, or None.

    A source that does not cover that kexec answers None and the next one is asked.
    """

    answers: Sequence[tuple[PreservedSource, Ask]]

    def at(self, kexec: int) -> list[tuple[PreservedSource, PreservedAnswer]]:
        """Every answer for one kexec, in order of precedence."""
        found = [(source, ask(kexec)) for source, ask in self.answers]
        return [(source, answer) for source, answer in found if answer is not None]

    def beyond(self, kexecs: int) -> list[int]:
        """Numbers of kexecs that a list names and a capture with so many kexecs does not have."""
        lists = (ask for _, ask in self.answers if isinstance(ask, _Listed))
        return sorted({number for ask in lists for number in ask.by_kexec if number >= kexecs})


def sources(options: Options, capture: Capture, runs: dict[str, RunsAt]) -> PreservedSources:
    """Open everything that may say what was preserved.

    Args:
        options: the user's options.
        capture: has preserved-set chunks of its own, and sidecars.
        runs: log source (``dmesg``, ``capture``, ``sidecar``) -> function from kexec number to the logs of
            the outgoing and the incoming kernel.

    Raises:
        UsageError, UnreadableInputError, DamagedInputError: a given source cannot be used.
    """
    answers: list[tuple[PreservedSource, Ask]] = []
    if options.preserved is not None:
        answers.append(("option", _given(options.preserved, options)))
    if options.flb is not None:
        name = options.flb_name or ""
        answers.append(("flb", of_option(options, "--flb", options.flb, lambda path: _dump(path, name))))
    if "dmesg" in runs:
        answers.append(("dmesg", _logged(runs["dmesg"])))
    answers.extend(
        ("capture", _dumped(dump.data, dump.name, capture.path, dump.kexec))
        for dump in capture.notes.preserved
    )
    if "capture" in runs:
        answers.append(("capture", _logged(runs["capture"])))
    answers.extend(("sidecar", _list_of(path)) for path in beside(capture.pieces, ".preserved"))
    answers.extend(("sidecar", _dump(path, "")) for path in beside(capture.pieces, ".flb"))
    if "sidecar" in runs:
        answers.append(("sidecar", _logged(runs["sidecar"])))
    return PreservedSources(answers)


def _given(text: str, options: Options) -> Ask:
    """What ``--preserved`` gives: a list, or ``@FILE`` with one."""
    if text.startswith("@"):
        return of_option(options, "--preserved", text[1:], _list_of)
    return _listed(entries_of(text))


def entries_of(text: str) -> list[tuple[int | None, int]]:
    """Kexec number, or None for every kexec, and function of each entry of a ``--preserved`` list.

    Raises:
        UsageError: it is no such list, or an empty one.
    """
    entries: list[tuple[int | None, int]] = []
    try:
        for line in text.splitlines():
            entries.extend(map(_entry, _words(line)))
    except ValueError as error:
        raise UsageError(f"--preserved: {error}", advice=f"write {_FORM}, separated by commas") from error
    if not entries:
        raise UsageError(
            f"--preserved: expected at least one {_FORM}, found none",
            advice="leave it out if it is not known",
        )
    return entries


def _list_of(path: str) -> Ask:
    """A file with a list, comments from ``#`` on. What is wrong with it never quotes it."""
    entries: list[tuple[int | None, int]] = []
    wrong = []
    lines = read_text(path, _TEXT_LIMIT, "a list of preserved functions").splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            entries.extend(map(_entry, _words(line)))
        except ValueError:
            wrong.append(number)
    if wrong:
        more = f" (and in {len(wrong) - 1} more of {len(lines)} lines)" if len(wrong) > 1 else ""
        raise DamagedInputError(
            f"expected {_FORM} in line {wrong[0]}, found other text{more}",
            path=path,
            advice="write addresses separated by commas or white space, comments after #",
        )
    if not entries:
        raise EmptyInputError(
            f"expected at least one {_FORM}, found none in {len(lines)} line{'s' * (len(lines) != 1)}",
            path=path,
            advice="name the preserved functions, or leave the file out",
        )
    return _listed(entries)


def _words(line: str) -> list[str]:
    return line.partition("#")[0].replace(",", " ").split()


def _entry(word: str) -> tuple[int | None, int]:
    """One entry; a kexec number stands before a full address, as in ``1:0000:03:00.0``.

    Raises:
        ValueError: it is not such an entry.
    """
    parts = word.split(":")
    if len(parts) == 4 and parts[0].isdecimal():
        return int(parts[0]), bdf.parse(":".join(parts[1:]))
    return None, bdf.parse(word)


@dataclass(frozen=True)
class _Listed:
    """Answers of a list with at least one entry; entries without a kexec number hold for every kexec."""

    everywhere: frozenset[int]
    by_kexec: Mapping[int, frozenset[int]]

    def __call__(self, kexec: int) -> PreservedAnswer | None:
        if not self.everywhere and kexec not in self.by_kexec:
            return None
        return PreservedAnswer(self.everywhere | self.by_kexec.get(kexec, frozenset()))


def _listed(entries: Iterable[tuple[int | None, int]]) -> Ask:
    by_number: defaultdict[int | None, set[int]] = defaultdict(set)
    for number, key in entries:
        by_number[number].add(key)
    everywhere = frozenset(by_number.pop(None, set()))
    return _Listed(
        everywhere, {number: frozenset(keys) for number, keys in by_number.items() if number is not None}
    )


def _dump(path: str, name: str) -> Ask:
    """A file with a raw kernel dump."""
    return _dumped(read_limited(path, DUMP_LIMIT, "a pci_ser dump"), name, path)


def _dumped(data: bytes, name: str, path: str, kexec: int | None = None) -> Ask:
    """A raw kernel dump; ``kexec`` is the one it belongs to, or None for all."""
    from analyzer.preservation import flb

    dump = flb.decode(data, name, path=path)
    answer = PreservedAnswer(dump.functions, HandedOver(dump.layout, dump.version, name))
    return lambda number: answer if kexec is None or kexec == number else None


def _logged(runs_at: RunsAt) -> Ask:
    """The set as the kernels' logs list it.

    The outgoing kernel lists all, the incoming one those that it found and those that were never finished;
    either log may lack lines. Logs without such lines give no set, unless they show a Live Update and hold
    the place where such lines would be: the outgoing kernel's whole life, or the incoming one's enumeration.
    Then nothing was preserved. A message whose address is damaged leaves a function out.
    """

    def answer(kexec: int) -> PreservedAnswer | None:
        outgoing, incoming = runs_at(kexec)
        listed = frozenset() if outgoing is None else outgoing.will_be_preserved
        if incoming is not None:
            listed |= incoming.was_preserved | incoming.never_finished
        unnamed = [run.unnamed_preserved for run in (outgoing, incoming) if run is not None]
        damaged = tuple(_UNNAMED.format(text[:_SHOWN]) for text in unnamed if text is not None)
        if listed:
            return PreservedAnswer(listed, warnings=damaged, may_lack=bool(damaged))
        if damaged:
            return None
        if outgoing is None or incoming is None:
            return None
        whole = outgoing.release is not None or incoming.enumerated
        nothing = incoming.live_update_evidence and outgoing.kexec_started and whole
        return PreservedAnswer(frozenset()) if nothing else None

    return answer


def resolve(
    opened: PreservedSources, kexec: int, outgoing: Topology, fallback: frozenset[int]
) -> PreservedSet:
    """The set at one kexec.

    Args:
        opened: the sources of the capture.
        kexec: its number.
        outgoing: topology of the outgoing boot: every bridge above a listed endpoint is implied.
        fallback: the assumed set.
    """
    found = opened.at(kexec)
    if not found:
        return PreservedSet(fallback, "assumed")
    source, answer = found[0]
    keys = answer.keys
    if source in ("option", "sidecar"):
        keys = with_bridges(keys, outgoing)
    warnings = list(answer.warnings)
    for other, theirs in found[1:]:
        missing, extra = keys - with_bridges(theirs.keys, outgoing), theirs.keys - keys
        if missing or extra:
            shown = ", ".join(bdf.text(key) for key in sorted(missing | extra)[:8])
            warnings.append(f"preserved sets disagree: {source} is used, {other} differs on {shown}")
    return PreservedSet(keys, source, tuple(warnings), answer.handed_over, answer.may_lack)


def with_bridges(keys: Iterable[int], outgoing: Topology) -> frozenset[int]:
    """A set with every bridge above its members."""
    whole = set(keys)
    for key in list(whole):
        whole.update(bridge.function for bridge in outgoing.ancestors(key))
    return frozenset(whole)


def assumed(
    outgoing: Topology,
    incoming: Topology,
    outgoing_states: dict[int, OutgoingState],
    decided_after: dict[int, list[Decision]],
    observed: ObservedPolicy,
) -> frozenset[int]:
    """What must be taken as preserved where no source says it.

    Every function below a bridge on which the outgoing kernel used ARI. An incoming kernel that inherits
    shows more: it leaves the register alone on preserved bridges and writes it on all others, so those that
    it wrote are out, and those that it only read are in, whatever ARI was before. A bridge that it never
    reached counts only if ARI carried more than function 0 there: a port with a single function needs no ARI
    and says nothing about Live Update.
    """
    keys: set[int] = set()
    for bridge, below in _carried(outgoing, outgoing_states):
        if observed not in LIVE_UPDATE_POLICIES or _treated_as_preserved(
            bridge, incoming, decided_after, len(below)
        ):
            keys |= below
    if observed in LIVE_UPDATE_POLICIES:
        adopted = {key for key, taken in decided_after.items() if taken and taken[0].rule in _ADOPTING}
        keys |= adopted & outgoing.functions.keys()
    return with_bridges(keys, outgoing)


def not_handed_over(
    outgoing: Topology, incoming: Topology, decided_after: dict[int, list[Decision]]
) -> frozenset[int]:
    """Bridges of which the incoming kernel's own accesses show that they were not handed over.

    On a preserved bridge every series reads DEVCTL2 and writes nothing, and none assigns new bus numbers: a
    bridge on which the stock rule was followed, or which got new numbers, was not preserved.
    """
    by_path = {outgoing.path(bridge.function): bridge.function for bridge in outgoing.bridges()}
    _, renumbered = incoming.lost_numbers()
    shown = {bridge.function for bridge in renumbered}
    shown |= {key for key, taken in decided_after.items() if taken and taken[0].rule in _RULES_OF_OTHERS}
    paths = (incoming.path(key) for key in shown)
    return frozenset(by_path[path] for path in paths if path in by_path)


def without(keys: frozenset[int], others: frozenset[int], outgoing: Topology) -> frozenset[int]:
    """An assumed set without some bridges and what is below them."""
    if not others:
        return keys
    left = {
        key
        for key in keys
        if not outgoing.functions[key].is_bridge
        and not others & {bridge.function for bridge in outgoing.ancestors(key)}
    }
    return with_bridges(left, outgoing)


def _carried(
    outgoing: Topology, outgoing_states: dict[int, OutgoingState]
) -> Iterator[tuple[Function, set[int]]]:
    """Bridges on which a kernel used ARI, or may have, with the functions on the bus below."""
    on_bus: defaultdict[int, set[int]] = defaultdict(set)
    for key in outgoing.functions:
        on_bus[key >> 8].add(key)
    for bridge in outgoing.bridges():
        outgoing_state, numbers = outgoing_states.get(bridge.function), bridge.bus_numbers
        if outgoing_state is None or numbers is None:
            continue
        below = on_bus[bridge.bus >> 8 << 8 | numbers.secondary]
        # Of a bit that is not in the input a function above 7 says nothing; that it was preserved is assumed.
        may_be_on = outgoing_state.enabled is None and any(key & 0xFF > 7 for key in below)
        types = (None, *DOWNSTREAM_TYPES) if may_be_on else DOWNSTREAM_TYPES
        possible = may_be_on and bridge.ari_supported is not False
        if (outgoing_state.enabled or possible) and bridge.pcie_type in types:
            yield bridge, below


def _treated_as_preserved(
    bridge: Function, incoming: Topology, decided_after: dict[int, list[Decision]], functions: int
) -> bool:
    taken = decided_after.get(bridge.function)
    if taken:
        return taken[0].rule not in _RULES_OF_OTHERS
    return bridge.function in incoming.enumerated or functions > 1
