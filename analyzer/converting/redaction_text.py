"""Texts of a capture without names: the notes of a reader, and kernel logs down to the messages in use.

A log keeps only the messages that :mod:`analyzer.kernel_logs.log_facts` understands, without the prefix that
syslog or journald put in front (it holds the host's name); command lines keep only the parameters in
:data:`PARAMETERS`. What looks like a hardware address, a UUID, an IP address or a mail address is replaced
wherever it stands.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from analyzer.kernel_logs import cmdline, log_facts, log_lines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.capture import Event, LogLine, Notes
    from analyzer.kernel_logs.log_lines import LogText

#: Kernel parameters that tell of PCI, kexec and Live Update; all others are left out of command lines.
PARAMETERS: Final = frozenset(
    {
        "amd_iommu", "crashkernel", "elfcorehdr", "intel_iommu", "iommu", "iommu.passthrough", "iommu.strict",
        "kho", "kho_scratch", "liveupdate", "pci", "pcie_aspm", "pcie_port_pm", "pcie_ports", "reserve_mem",
    }
)  # fmt: skip
#: What stands for a text that was taken out.
REMOVED: Final = "(removed)"

_PRIVATE: Final = re.compile(
    r"""(?<![0-9a-f:.-])(?:
        (?:[0-9a-f]{2}[:-]){5,7}[0-9a-f]{2}                                    # hardware address, EUI-64
      | [0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}           # UUID
      | (?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)      # IPv4 address
      | (?:[0-9a-f]{1,4}:){7}[0-9a-f]{1,4} | fe80::[0-9a-f:]{1,40}             # IPv6 address
      | [\w.+%-]{1,64}@[\w.-]{1,255}                                           # mail address, user and host
    )(?![0-9a-f:.-])""",
    re.IGNORECASE | re.VERBOSE,
)
_JOURNAL_BOOT: Final = re.compile(r"-- Boot [0-9a-f]{32} --")
_PATH: Final = re.compile(r"(?<![\w.])(?:~|\.{0,2})(?:/[\w.@%+=~-]+){2,}/?")
#: Messages that may go on with anything (what a panic is about, the disk that firmware boots).
_ENDLESS: Final = frozenset({"firmware", "panic"})
#: How far the beginning of such a message goes that tells it.
_BEGINNING: Final = 100
_CMDLINE: Final = {"cmdline": "Command line: ", "kernel-cmdline": "Kernel command line: "}


class Scrubber:
    """Takes names out of texts and counts what it did.

    Args:
        host: name of the machine, taken out wherever it stands; None: not known.

    Attributes:
        left_out: log lines that were left out.
        replaced: pieces of text that were replaced.
    """

    def __init__(self, host: str | None) -> None:
        self.left_out = 0
        self.replaced = 0
        names = {host, host.split(".")[0]} if host else set()
        words = sorted((re.escape(name) for name in names if len(name) > 1), key=len, reverse=True)
        self._host = (
            re.compile(rf"(?<![\w.-])(?:{'|'.join(words)})(?![\w-])", re.IGNORECASE) if words else None
        )

    def notes(self, notes: Notes, name: str, *, keep_times: bool = False) -> Notes:
        """Return the notes of a capture without names.

        Args:
            notes: of the capture.
            name: what stands for the paths of its files.
            keep_times: keep an empty line with its time for each log message that is left out; dumps of a log
                are recognised by those.
        """
        problems = [
            replace(problem, file=name, message=self.text(_PATH.sub(name, problem.message)))
            for problem in notes.problems
        ]
        return replace(
            notes,
            path=name,
            host=None,
            tool=None if notes.tool is None else self.text(notes.tool),
            problems=problems,
            log=[line for given in notes.log for line in self._log_line(given, keep_times=keep_times)],
            events=[self._event(event) for event in notes.events],
        )

    def text(self, text: str) -> str:
        """Replace what looks private."""
        text, count = _PRIVATE.subn(REMOVED, text)
        self.replaced += count
        if self._host is not None:
            text, count = self._host.subn(REMOVED, text)
            self.replaced += count
        return text

    def _event(self, event: Event) -> Event:
        return replace(event, text=self.text(event.text))

    def _log_line(self, line: LogLine, *, keep_times: bool) -> Iterator[LogLine]:
        """The messages of a line that are used, each as a line of its own."""
        found = False
        for message in log_lines.messages(line.text.encode("utf-8", "replace")):
            text = self._message(message)
            if text is not None:
                found = True
                yield replace(line, text=_timed(message, text))
            elif keep_times and message.time_us is not None:
                found = True
                yield replace(line, text=_timed(message, REMOVED))
        self.left_out += not found

    def _message(self, message: LogText) -> str | None:
        """A message as it may be shown, None if it is not used."""
        fact = log_facts.read(message.text)
        if fact is None:
            return None
        if fact.kind in _CMDLINE:
            return _CMDLINE[fact.kind] + self._command_line(fact.text)
        if fact.kind == "journal-boot":
            return _JOURNAL_BOOT.sub(f"-- Boot {'0' * 32} --", message.text)
        if fact.kind in _ENDLESS:
            return _shortest(message.text, fact.kind)
        if fact.kind == "version":
            release = log_facts.release(fact.text) or ""
            before, _, behind = message.text.partition(release)
            return before + release + self.text(behind)
        return self.text(message.text)

    def _command_line(self, text: str) -> str:
        """The parameters of a command line that may be shown, in order; a wrapped line stays one."""
        wrapped = text.endswith(" \\")
        given = cmdline.parameters(text.removesuffix(" \\"))
        kept = [
            name if value is None else f'{name}="{value}"' if " " in value else f"{name}={value}"
            for name, value in given
            if name.replace("-", "_") in PARAMETERS
        ]
        if len(kept) < len(given):
            self.replaced += len(given) - len(kept)
            kept.append(REMOVED)  # a line without any parameter would not be read as a command line
        return " ".join(kept) + (" \\" if wrapped else "")


def _timed(message: LogText, text: str) -> str:
    if message.time_us is None:
        return text
    return f"[{message.time_us // 1_000_000:5}.{message.time_us % 1_000_000:06}] {text}"


def _shortest(text: str, kind: str) -> str | None:
    """The shortest beginning of a message that still says what kind it is."""
    for end in range(1, min(len(text), _BEGINNING) + 1):
        fact = log_facts.read(text[:end])
        if fact is not None and fact.kind == kind:
            return text[:end]
    return None
