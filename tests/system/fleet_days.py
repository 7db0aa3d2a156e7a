"""Six days of a fleet of 40 hosts: what lies in its directory of captures each evening.

``captures/DAY/DAYTHHMMSS-HOST/`` has the two files of a kexec, which ``--group-by`` finds. For the last hosts
``hosts.csv`` of the day names them too, with their time and what was preserved.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import host_files
from host_files import PRESERVED

from analyzer.fleet.histories import nanoseconds

if TYPE_CHECKING:
    from pathlib import Path

#: Monday to Saturday. The hosts of the last two are also in a run of their own.
DAYS: Final = tuple(f"2026030{number}" for number in range(2, 8))
GROUPING: Final = (
    "--group-by", r"/(?P<time>\d{8}T\d{6})-(?P<host>h\d\d)/", "--group-order", "before,after",
)  # fmt: skip
_HOSTS, _FIRST_IN_MANIFEST = 40, 26
#: (day, host) -> what lies there, and what became of ARI Forwarding. All others: dumps, kept.
_OTHERS: Final = {
    (0, "h03"): ("dumps", "lost"),
    (0, "h05"): ("dumps without root", "undetermined"),
    (0, "h09"): ("dumps", "hidden"),
    **{(0, f"h{at}"): ("recording", "kept") for at in range(12, 20)},
    (0, "h15"): ("recording, log without its dump", "unreadable"),
    (0, "h17"): ("recording, cut until the fourth day", "lost"),
    (0, "h19"): ("zeros and a log", "unreadable"),
    (0, "h20"): ("real dumps", "kept"),
    (0, "h21"): ("real dumps", "lost"),
    (0, "h26"): ("real traces", "lost"),
    (0, "h27"): ("real traces of both kernels", "healed"),
    (0, "h28"): ("real recording", "lost"),
    (1, "h07"): ("dumps, the second on the third day", "lost"),
    (1, "h13"): ("dumps", "hidden"),
    (1, "h19"): ("dumps without root", "undetermined"),
    (2, "h14"): ("recording", "hidden"),
    (2, "h32"): ("real recording", "lost"),
    (3, "h15"): ("dumps", "hidden"),
    (3, "h33"): ("real traces of both kernels", "healed"),
    (4, "h16"): ("recording", "hidden"),
    (5, "h17"): ("dumps", "hidden"),
    (5, "h23"): ("dumps without root", "undetermined"),
}
_REAL: Final = {"kept": "clean-inherit", "lost": "lost-selective-in-blackout"}
#: Hosts with something of their own in _OTHERS.
CORRECTED, LATE, UNREADABLE = "h17", "h07", {"h15", "h19"}


@dataclass
class Captures:
    """The directory of captures, and what was put there.

    Attributes:
        became: of each (day, host), in order.
    """

    folder: Path
    became: dict[tuple[str, str], str] = field(default_factory=dict)

    def manifest(self, day: str) -> Path:
        """The manifest of a day."""
        return self.folder / day / "hosts.csv"

    @property
    def tally(self) -> dict[str, int]:
        """What a report must count."""
        found = Counter("lost" if word == "hidden" else word for word in self.became.values())
        return {word: found[word] for word in ("lost", "healed", "kept", "undetermined")}

    def arrive(self, day: str) -> None:
        """Put what a day brings: all hosts on the first, each sixth on the others."""
        number = DAYS.index(day)
        (self.folder / day).mkdir(parents=True)
        rows = ["host,pieces,preserved,time\n"]
        for at in range(number, _HOSTS, 6 if number else 1):
            host = f"h{at:02d}"
            what, self.became[day, host] = _OTHERS.get((number, host), ("dumps", "kept"))
            moment = f"{day[:4]}-{day[4:6]}-{day[6:]}T05:{host[1:]}:00Z"
            files = self._files(what, host, self.became[day, host], nanoseconds(moment))
            folder = self._folder_of(day, host)
            self._put(folder, files)
            if at >= _FIRST_IN_MANIFEST:
                pieces = ";".join(f"{folder.name}/{name}" for name in files)
                rows.append(f'{host},{pieces},"{",".join(PRESERVED)}",{moment}\n')
        self.manifest(day).write_text("".join(rows))
        if number == 2:
            late = host_files.dumps(LATE, "lost")["after.txt"]
            self._put(self._folder_of(DAYS[1], LATE), {"after.txt": late})
        if number == 3:
            whole = host_files.recording(self.folder, CORRECTED, "lost")
            self._put(self._folder_of(DAYS[0], CORRECTED), whole)

    def _folder_of(self, day: str, host: str) -> Path:
        return self.folder / day / f"{day}T04{host[1:]}00-{host}"

    def _put(self, folder: Path, files: dict[str, bytes]) -> None:
        folder.mkdir(exist_ok=True)
        for name, content in files.items():
            (folder / name).write_bytes(content)

    def _files(self, what: str, host: str, became: str, start_ns: int) -> dict[str, bytes]:
        match what:
            case "dumps":
                return host_files.dumps(host, became)
            case "dumps without root":
                return host_files.dumps(host, "lost", bytes_after=64)
            case "dumps, the second on the third day":
                return {"before.txt": host_files.dumps(host, became)["before.txt"]}
            case "real dumps":
                return host_files.real_dumps(host, _REAL[became])
            case "real recording":
                return host_files.real_recording(host)
            case "real traces":
                return host_files.real_traces()
            case "real traces of both kernels":
                return host_files.both_kernels(self.folder, host, start_ns)
        dump = what != "recording, log without its dump"
        state = "lost" if became == "unreadable" else became
        files = host_files.recording(self.folder, host, state, dump=dump)
        if what == "recording, cut until the fourth day":
            files["before.bin"] = files["before.bin"][: len(files["before.bin"]) // 2]
        if what == "zeros and a log":
            files["before.bin"] = bytes(4096)
        return files
