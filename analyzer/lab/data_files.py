"""Scenario and topology files: read and checked key by key, so that a wrong key is an error."""

from __future__ import annotations

import tomllib
from difflib import get_close_matches
from importlib import resources
from typing import TYPE_CHECKING, Any, TypeVar

from analyzer.errors import UsageError
from analyzer.readers.small_files import read_limited

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.resources.abc import Traversable

T = TypeVar("T")

#: A scenario is some KiB.
_LIMIT = 1 << 20
_MOST_NEAR = 2


def names(kind: str) -> list[str]:
    """Return the sorted names of the files of one kind (``scenarios``, ``topologies``)."""
    folder = resources.files("analyzer.lab").joinpath(kind)
    return sorted(
        entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml")
    )


def read(kind: str, name: str) -> Table:
    """Read one file of the package.

    Raises:
        UsageError: there is no such file, or it is not TOML.
    """
    known = names(kind)
    if name not in known:
        raise UsageError(
            f"there is no {name!r} among the {kind} of the lab", advice=_advice(kind, name, known)
        )
    file: Traversable = resources.files("analyzer.lab").joinpath(kind).joinpath(f"{name}.toml")
    try:
        return Table(f"{kind}/{name}.toml", tomllib.loads(file.read_text(encoding="utf-8")))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"not TOML: {error}", path=f"{kind}/{name}.toml") from error


def read_file(path: str) -> Table:
    """Read a file of the user.

    Raises:
        AritraceError: it cannot be read, or is not TOML.
    """
    data = read_limited(path, _LIMIT, "a scenario")
    try:
        return Table(path, tomllib.loads(data.decode("utf-8")))
    except UnicodeDecodeError as error:
        raise UsageError(f"not UTF-8: byte {error.start:#x}", path=path) from error
    except (ValueError, RecursionError) as error:  # ValueError: also a number of thousands of digits
        raise UsageError(f"not TOML: {error}", path=path) from error


def _advice(kind: str, name: str, known: Sequence[str]) -> str:
    """The names that look like the one that is not there, or where all of them are listed."""
    near = get_close_matches(name, known, _MOST_NEAR)
    if kind != "scenarios":
        return f"known: {', '.join(near or known)}"
    listed = "'analyze lab list' shows all"
    return (
        f"did you mean {' or '.join(near)}? {listed}" if near else f"{listed}; a file of yours ends in .toml"
    )


class Table:
    """A table of a data file; each value is taken once, and a key that was not taken is an error."""

    def __init__(self, where: str, values: dict[str, Any]) -> None:
        self.where = where
        self._values = dict(values)

    @property
    def is_empty(self) -> bool:
        """Whether no key is left."""
        return not self._values

    def take(self, key: str, kind: type[T], default: T | None = None) -> T:
        """Return and remove a value.

        Raises:
            UsageError: missing (without a default), or of another type.
        """
        value = self._values.pop(key, default)
        if value is None:
            raise UsageError(f"the key {key!r} is missing", path=self.where)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise UsageError(f"{key}: expected {kind.__name__}, found {value!r}", path=self.where)
        return value

    def strings(self, key: str) -> list[str]:
        """Return and remove a list of strings (empty where it is missing)."""
        values = self.take(key, list, [])
        if not all(isinstance(value, str) for value in values):
            raise UsageError(f"{key}: expected a list of strings, found {values!r}", path=self.where)
        return values

    def tables(self, key: str) -> list[Table]:
        """Return and remove a list of tables (empty where it is missing)."""
        values = self.take(key, list, [])
        if not all(isinstance(value, dict) for value in values):
            raise UsageError(f"{key}: expected a list of tables, found {values!r}", path=self.where)
        return [Table(f"{self.where} {key}[{number}]", value) for number, value in enumerate(values)]

    def table(self, key: str) -> Table:
        """Return and remove a table (empty where it is missing)."""
        return Table(f"{self.where} {key}", self.take(key, dict, {}))

    @property
    def left(self) -> list[str]:
        """The keys that are left."""
        return list(self._values)

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def rest(self) -> dict[str, Any]:
        """Return and remove everything that is left."""
        values, self._values = self._values, {}
        return values

    def end(self) -> None:
        """Check that every key was taken.

        Raises:
            UsageError: an unknown key.
        """
        if self._values:
            raise UsageError(f"unknown keys: {', '.join(sorted(self._values))}", path=self.where)
