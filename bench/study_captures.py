"""What the study takes from real kernels: the captures of the corpus, with what lspci saw in each guest."""

from __future__ import annotations

import tomllib
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
from measuring import TRACES, Table

import analyzer
from analyzer.results import LOSSES, POLICIES, policy_that_ran

if TYPE_CHECKING:
    from analyzer.results import KexecResult

_BIT = frozenset({"explicit-write", "restore-write", "incoming-write", "selective-loss"})
_HAPPENED = ("nothing lost", "bit 5 written away", "port reset")
_RULES = {
    "stock": "stock rule",
    "inherit": "inherit rule",
    "serialize": "serialized bit",
    "heal": "heal rule",
    "unknown": "not recognised",
}


def table(folder: Path = TRACES) -> Table:
    """Every kexec of the corpus, by the rule of its incoming kernel and what became of its bridges."""
    paths = sorted(str(path) for path in folder.glob("*.bin"))
    analysis = analyzer.analyze(paths)
    rows = [
        _row(kexec, path, _truth(path), last=kexec is result.kexecs[-1])
        for path, result in zip(paths, analysis.captures, strict=True)
        for kexec in result.kexecs
    ]
    found = (
        pl.DataFrame(rows)
        .group_by("rule", "happened")
        .agg(pl.len(), *(pl.col(name).sum() for name in _COUNTED))
        .with_columns(
            pl.col("rule").cast(pl.Enum(list(_RULES.values()))).alias("first"),
            pl.col("happened").cast(pl.Enum(_HAPPENED)).alias("second"),
        )
        .sort("first", "second")
    )
    head = (
        "rule of the incoming kernel", "what happened", "kexecs", "bridges lost", "healed",
        "of both, only bit 5", "functions stranded",
        "replayed: stock / inherit / serialize / heal", "as lspci in the guest",
    )  # fmt: skip
    unchanged = sum(_is_unchanged(path) for path in paths)
    caption = f"{len(paths)} captures, {unchanged} of them of kernels that nobody changed"
    return Table(caption, head, [_cells(row) for row in found.iter_rows(named=True)])


_COUNTED = (
    "lost", "healed", "pure", "stranded", "stock", "inherit", "serialize", "heal", "listed", "equal",
)  # fmt: skip


def _cells(row: dict[str, Any]) -> list[str]:
    counts = [f"{row[name]:,}" for name in ("len", "lost", "healed", "pure", "stranded")]
    replayed = " / ".join(f"{row[name]:,}" for name in POLICIES)
    return [row["rule"], row["happened"], *counts, replayed, f"{row['equal']} of {row['listed']}"]


def _row(kexec: KexecResult, path: str, truth: dict[str, Any], *, last: bool) -> dict[str, Any]:
    causes = {bridge.cause for bridge in kexec.bridges if bridge.cause is not None}
    happened = _HAPPENED[0 if not causes else 1 if causes <= _BIT else 2]
    verdicts = Counter(bridge.verdict for bridge in kexec.bridges)
    ran = policy_that_ran(kexec.observed_policy)
    listed = truth.get("incoming_enumerated") if last else None
    seen = kexec.observed.discovered
    return {
        "path": path,
        "rule": _RULES[kexec.observed_policy],
        "happened": happened,
        "lost": sum(verdicts[name] for name in LOSSES),
        "healed": verdicts["healed"],
        "pure": sum(
            bridge.registers_note is not None and bridge.registers_note.startswith("none of ")
            for bridge in kexec.bridges
            if bridge.ari_before and bridge.ari_after is False
        ),
        "stranded": sum(device.verdict == "stranded" for device in kexec.devices),
        **{name: len(outcome.stranded) for name, outcome in kexec.policies.items()},
        "listed": listed is not None,
        "equal": listed is not None and sorted(listed) == seen == kexec.policies[ran].discovered,
    }


def _truth(path: str) -> dict[str, Any]:
    """The table ``truth`` of the file beside a capture: what the guest saw."""
    return dict(_beside(path).get("truth", {}))


def _is_unchanged(path: str) -> bool:
    """Whether the kernels of a capture are a distribution's, or built without a patch."""
    kernel = _beside(path)["provenance"]["kernel"]
    return kernel.startswith("Debian") or "unchanged" in kernel


def _beside(path: str) -> dict[str, Any]:
    return tomllib.loads(Path(path).with_suffix(".toml").read_text(encoding="utf-8"))
