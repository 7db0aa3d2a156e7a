"""Recognise config accesses among trace events whose group, name and fields a user chose (kprobes, fprobes).

The field *names* decide: an event with a bus, a devfn, a register and a value is a config access. Whether it
reads or writes is decided by its own name, in this order:

1. it was named by the user (``--map read=EVENT`` or ``--map write=EVENT``);
2. its name has ``write`` in it, or ``read``, but not both; else ``wr``, or ``rd``, but not both (``dword``
   and other words that happen to contain them do not count);
3. the name of its group has;
4. it records what a function returned (``ret``, ``rc``) at the return of that function: a write's value is
   known when the function is entered, so people record writes there. Such an event is a read.

An event that none of these decides is refused, with what to do.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from analyzer.capture.accesses import READ, WRITE
from analyzer.errors import UnsupportedFormatError, UsageError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

#: What a field means, and the names that people give it; the first that an event has is taken.
ROLES: dict[str, tuple[str, ...]] = {
    "domain": ("seg", "dom", "domain"),
    "bus": ("bus",),
    "devfn": ("devfn",),
    "offset": ("reg", "pos", "where", "offset"),
    "width": ("len", "size"),
    "value": ("val", "value"),
    "status": ("ret", "rc"),
}
#: Without these an event is not a config access.
NEEDED = ("bus", "devfn", "offset", "value")
_DIRECTIONS = {"read": READ, "write": WRITE}
#: Words that contain the forms below by chance.
_CHANCE = re.compile("[dq]?word|record|thread|card|hard|ward|guard|order|rdma|wrap")
#: Forms of the two directions, the surer ones first.
_FORMS = (("write", "read"), ("wr", "rd"))


@dataclass(frozen=True)
class FieldNames:
    """Names of fields by role, and of events by direction, that a user's ``--map`` adds to the usual ones."""

    roles: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: dict(ROLES))
    events: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, field_map: Mapping[str, str]) -> FieldNames:
        """Return the names with those of ``--map FIELD=NAME,...``.

        Raises:
            UsageError: a FIELD that is neither a role nor one of its usual names, nor ``read`` or ``write``.
        """
        roles = dict(ROLES)
        events: dict[str, int] = {}
        for given, name in field_map.items():
            if given in _DIRECTIONS:
                events[name] = _DIRECTIONS[given]
                continue
            role = next((role for role, names in ROLES.items() if given == role or given in names), None)
            if role is None:
                raise UsageError(
                    f"--map: expected a field of {', '.join(ROLES)}, or read or write; found {given!r}",
                    advice="as in --map devfn=df,offset=r,write=my_event",
                )
            roles[role] = (name, *(usual for usual in roles[role] if usual != name))
        return cls(roles, events)

    def match(self, names: Collection[str]) -> dict[str, str] | None:
        """Return the field of each role among ``names``, None if that is not a config access."""
        found = {
            role: name
            for role, candidates in self.roles.items()
            if (name := next((name for name in candidates if name in names), None)) is not None
        }
        return found if all(role in found for role in NEEDED) else None

    def direction(self, system: str, name: str, *, returns: bool, has_status: bool) -> int | None:
        """Return ``READ`` or ``WRITE``, None if it is not known.

        Args:
            system: the group of the event, or an empty string.
            name: its name.
            returns: it was recorded when a function returned.
            has_status: it holds what the function returned.
        """
        for known in (name, f"{system}:{name}"):
            if known in self.events:
                return self.events[known]
        for text in (name, system):
            words = _CHANCE.sub(" ", text.lower())
            for write, read in _FORMS:
                if (write in words) != (read in words):
                    return WRITE if write in words else READ
        return READ if returns and has_status else None


def refuse(path: str, name: str, place: int | None) -> UnsupportedFormatError:
    """Return the error for an event whose direction is not known; ``place`` is that of its first record."""
    return UnsupportedFormatError(
        f"the event {name!r} has the fields of a config access, but its name says neither read nor write",
        path=path,
        offset=place,
        advice=f"say which it is: --map read={name} or --map write={name}; or name the probe with rd or wr",
    )
