"""The regression corpus: captures with the verdicts that a human signed, as ``NAME.bin`` with ``NAME.toml``.

Nothing updates an expectation by itself: ``update`` only shows what would change unless asked to write.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, get_args

from analyzer.errors import DamagedInputError, EmptyInputError, UnreadableInputError
from analyzer.options import Options, PolicyChoice
from analyzer.readers.small_files import read_limited
from analyzer.results import UNCHANGED
from analyzer.writing import replacing

if TYPE_CHECKING:
    from analyzer.results import CaptureResult, KexecResult

#: Where this project keeps its corpus.
DIRECTORY = "traces"
_CASE_LIMIT = 1 << 20
#: Options that a case may give, by the type of their value in TOML.
_OPTIONS: Final[dict[str, type]] = {
    "policy": str,
    "series": str,
    "preserved": str,
    "flb": str,
    "flb_name": str,
    "dmesg": str,
    "cmdline": str,
    "assume_preserved": bool,
    "kexec_at": list,
    "seed": str,
    "ecam_base": int,
    "guest": int,
    "strict": bool,
}
_SHOWN: Final = 200


@dataclass(frozen=True)
class CaseResult:
    """One case: what its file expects and what the analysis says.

    Attributes:
        name: of the capture without its ending.
        title: what happened, from the file.
        file: the expectation file.
    """

    name: str
    title: str
    file: str
    expected: dict[str, Any]
    found: dict[str, Any]

    @property
    def ok(self) -> bool:
        """The analysis says what the file expects."""
        return self.expected == self.found

    @property
    def proposal(self) -> str | None:
        """The expectation file with what was found, comments and all else kept; None if nothing differs.

        Raises:
            DamagedInputError: the file is valid TOML, but in an order that no change can keep.
        """
        if self.ok:
            return None
        import tomlkit

        try:
            document = tomlkit.parse(_text(self.file))
            document["expect"] = self.found
            return tomlkit.dumps(document)
        except (tomlkit.exceptions.TOMLKitError, ValueError, RecursionError) as error:
            raise DamagedInputError(
                f"expected TOML in which one table can be replaced, found {error}",
                path=self.file,
                advice="keep the lines of each table together, [expect] at the end",
            ) from error

    def difference(self) -> list[str]:
        """A unified diff of the file against the proposal, line by line; empty if they agree."""
        before = _text(self.file).splitlines()
        after = before if self.proposal is None else self.proposal.splitlines()
        return list(difflib.unified_diff(before, after, self.file, f"{self.file} (found)", lineterm=""))


def _text(path: str) -> str:
    return read_limited(path, _CASE_LIMIT, "TOML").decode("utf-8")


def cases(directory: str) -> list[Path]:
    """The expectation files of a corpus, sorted by name.

    Raises:
        UnreadableInputError: no such directory.
        EmptyInputError: it holds no case.
    """
    root = Path(directory)
    if not os.path.isdir(directory):  # noqa: PTH112 Path.is_dir raises for a name that is too long
        found_there = "a file" if os.path.exists(directory) else "nothing there"  # noqa: PTH110 (as above)
        raise UnreadableInputError(
            f"expected a directory of NAME.bin with NAME.toml, found {found_there}", path=directory
        )
    found = sorted(path for path in root.glob("*.toml") if path.with_suffix(".bin").is_file())
    if not found:
        raise EmptyInputError("expected NAME.bin with NAME.toml, found no such pair", path=directory)
    return found


def check(directory: str = DIRECTORY) -> list[CaseResult]:
    """Analyse every case of a corpus and compare.

    Raises:
        DamagedInputError: an expectation file is no TOML.
    """
    return [_case(path) for path in cases(directory)]


def update(directory: str = DIRECTORY, *, write: bool = False) -> list[CaseResult]:
    """The same; with ``write`` the ``expect`` table of each file that differs becomes what was found."""
    results = check(directory)
    for result in results:
        proposal = result.proposal if write else None
        if proposal is not None:
            with replacing(result.file) as stream:
                stream.write(proposal.encode())
    return results


def _case(path: Path) -> CaseResult:
    from analyzer.analysis import analyze

    try:
        document = tomllib.loads(_text(str(path)))
    except (ValueError, RecursionError) as error:  # ValueError: also what is not UTF-8, and endless numbers
        raise DamagedInputError(f"expected TOML, found {error}", path=str(path)) from error
    capture = str(path.with_suffix(".bin"))
    result = analyze([capture], _options(document.get("options", {}), str(path))).captures[0]
    title, expected = str(document.get("title", "")), document.get("expect", {})
    return CaseResult(path.stem, title, str(path), expected, expectation(result))


def _options(found: Any, path: str) -> Options:
    """The options of a case.

    Raises:
        DamagedInputError: there is no option of that name, or not of that type.
    """
    if not isinstance(found, dict):
        raise DamagedInputError(f"options: expected a table, found {found!r}"[:_SHOWN], path=path)
    for name, value in found.items():
        kind = _OPTIONS.get(name)
        if kind is None:
            known = ", ".join(_OPTIONS)
            raise DamagedInputError(
                f"options: expected one of {known}; found {name!r}", path=path, advice="correct the name"
            )
        right = type(value) is kind and not (isinstance(value, list) and {*map(type, value)} - {str})
        if not right:
            raise DamagedInputError(
                f"options: expected {kind.__name__} for {name}, found {value!r}"[:_SHOWN], path=path
            )
    policy = found.get("policy", "observed")
    if policy not in get_args(PolicyChoice):
        raise DamagedInputError(f"options: found no policy {policy!r}"[:_SHOWN], path=path)
    chosen: Any = {name: tuple(value) if type(value) is list else value for name, value in found.items()}
    return Options(**chosen)


def expectation(capture: CaptureResult) -> dict[str, Any]:
    """What a corpus file says of a capture: everything that must not change by accident."""
    return {"verdict": capture.verdict, "kexecs": [_kexec(kexec) for kexec in capture.kexecs]}


def _kexec(kexec: KexecResult) -> dict[str, Any]:
    return {
        "kind": kexec.kind,
        "observed_policy": kexec.observed_policy,
        "preserved_source": kexec.preserved_source,
        "bridges": {
            bridge.bdf: " ".join(
                filter(None, (bridge.verdict, bridge.cause, bridge.cause_bdf, bridge.confidence))
            )
            for bridge in kexec.bridges
            if bridge.verdict not in UNCHANGED
        },
        "stranded": [device.bdf for device in kexec.devices if device.verdict == "stranded"],
        "discovered": {
            "observed": len(kexec.observed.discovered),
            **{name: len(outcome.discovered) for name, outcome in kexec.policies.items()},
        },
        "findings": sorted({item.code for item in kexec.findings if item.severity != "note"}),
        "divergences": [item.bdf for item in kexec.divergences if not item.explained],
    }
