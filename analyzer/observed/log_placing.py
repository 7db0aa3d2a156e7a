"""Which kernel run of a log is which boot of a capture, and whether the log is of this machine at all.

A log has no place in the order of accesses. Its runs are placed by their number, and by the releases that
the capture itself holds (boundaries, its own log): a log that contradicts them is set aside, since what it
says of the kind of a kexec or of preserved functions would be said of another one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from analyzer.kernel_logs.kernel_log import KernelLog, KernelRun
    from analyzer.observed.boots import BootSpan


@dataclass
class LogPlacement:
    """Places logs in the boots of one capture.

    Attributes:
        spans: its boots.
        named: kernel releases that it names without a place.
        releases: by boot, as the capture itself says, its own log included once that is placed.
        warnings: a sentence for each log that was set aside.
    """

    spans: Sequence[BootSpan]
    named: Sequence[str] = ()
    releases: dict[int, str] = field(init=False)
    warnings: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.releases = {span.index: span.release for span in self.spans if span.release}

    def place(self, log: KernelLog, name: str) -> dict[int, KernelRun]:
        """Boot index -> kernel run; empty where the log contradicts the capture, which is a warning.

        Args:
            log: its runs.
            name: what a warning calls it. The log of the capture itself comes first: its releases count for
                those that follow.
        """
        placements = list(placements_of(self.spans, log))
        for placement in placements:
            if not self._contradictions(placement):
                self._learn(placement)
                return placement
        if placements:
            self.warnings.append(self._warning(name, placements[0]))
        return {}

    def _contradictions(self, placement: dict[int, KernelRun]) -> list[tuple[int, str, str]]:
        """Boot, release of the log and of the capture, wherever the two differ."""
        found = [
            (boot, run.release, self.releases[boot])
            for boot, run in placement.items()
            if run.release and self.releases.get(boot, run.release) != run.release
        ]
        found.extend(self._other_predecessors(placement))
        if found or not self.named or self.releases:
            return found
        kernels = [span.index for span in self.spans if span.kind != "firmware"]
        said = [(boot, run.release) for boot, run in placement.items() if run.release]
        if len(said) == len(kernels) and not any(release in self.named for _, release in said):
            return [(boot, release, " or ".join(self.named)) for boot, release in said]
        return []

    def _other_predecessors(self, placement: dict[int, KernelRun]) -> Iterator[tuple[int, str, str]]:
        """The same for the release of the kernel before, which KHO hands over ("KHO: exec from")."""
        for boot, run in placement.items():
            known = self.releases.get(boot - 1)
            if self.spans[boot].entered_by == "reboot":
                known = "firmware"
            if run.previous_release and known is not None and known != run.previous_release:
                yield boot - 1, run.previous_release, known

    def _learn(self, placement: dict[int, KernelRun]) -> None:
        for boot, run in placement.items():
            if run.release:
                self.releases.setdefault(boot, run.release)
        for boot, run in placement.items():
            if run.previous_release and self.spans[boot].entered_by == "kexec":
                self.releases.setdefault(boot - 1, run.previous_release)

    def _warning(self, name: str, placement: dict[int, KernelRun]) -> str:
        boot, theirs, ours = self._contradictions(placement)[0]
        return (
            f"{name} seems to be of another machine, and nothing of it was used: it says that boot {boot} ran"
            f" Linux {theirs}, the capture says {ours}"
        )


def placements_of(spans: Sequence[BootSpan], log: KernelLog) -> Iterator[dict[int, KernelRun]]:
    """Every way to place the runs of a log side by side, the likeliest first.

    As many runs as kernels: one to one. Fewer runs: a log that ends in a kexec belongs to the first kernels,
    any other to the last ones. More runs than kernels: the capture began later, the last runs count.
    """
    kernels = [span.index for span in spans if span.kind != "firmware"]
    runs = list(log.runs)
    spare = len(kernels) - len(runs)
    shifts = list(range(abs(spare) + 1)) if runs else []
    if not (spare > 0 and runs and runs[-1].kexec_started):
        shifts.reverse()
    for shift in shifts:
        if spare >= 0:
            yield dict(zip(kernels[shift:], runs, strict=False))
        else:
            yield dict(zip(kernels, runs[shift:], strict=False))
