"""``explain`` of a function that is not in the input: what else the input shows of that address, or lacks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from small_dumps import END, FIRST, OFF, PORT, dump
from small_logs import log
from sriov_dumps import sriov

from analyzer.errors import UsageError
from analyzer.options import Options
from analyzer.questions.explain.function import explain
from analyzer.report import explain_report
from analyzer.report.page import Page, plain

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Refused = Callable[..., UsageError]

ENDS = {(FIRST, 0x100): "0e 00 01 00 00 00 00 00 00 00 00 00 00 00 00 00"}
SINGLE = {(FIRST, 0x00): "f4 1a 01 10 07 04 10 00 01 00 00 02 00 00 00 00"}
NO_NUMBERS = {(PORT, 0x10): "00 " * 15 + "00"}
CUT_NUMBERS = {(PORT, 0x10): "00 00 00 00 00 00 00 00 00"}
WHOLE = dump(PORT, FIRST, size=4096, rows=OFF)
NO_RESPONSE = (
    "every bit of its header read as 1, so that nothing responded at this address, as is true above function "
    "7 while ARI Forwarding is off"
)
LOG_LACKS = (
    "a kernel log shows neither ARI Forwarding nor Next Function Numbers nor virtual functions: as root, "
    "lspci -D -xxxx on that machine does"
)
LOG_UNKNOWN = (
    "kexec 0: 0000:00:03.0 undetermined (ARI Forwarding before: unknown, after: unknown, decided by the "
    "incoming kernel: unknown); not in the input: ARI Forwarding of 0000:00:03.0 before and after the kexec, "
    "which no kernel log shows"
)
#: What Linux prints of a function that does not respond.
LISTED = "pci 0000:01:02.0: [ffff:ffff] type 7f class 0xffffff conventional PCI endpoint"
IGNORED = "pci 0000:01:02.0: unknown header type 7f, ignoring device"


@pytest.fixture
def refused(tmp_path: Path) -> Refused:
    def ask(*texts: str, asked: str) -> UsageError:
        paths = [tmp_path / f"piece{number}" for number in range(len(texts))]
        for path, text in zip(paths, texts, strict=True):
            path.write_text(text)
        with pytest.raises(UsageError) as refusal:
            explain([str(path) for path in paths], asked, Options(join=len(texts) > 1))
        return refusal.value

    return ask


def small(*rows: dict[tuple[str, int], str | None]) -> str:
    """A whole dump of the port, with the bit off, and of 01:00.0."""
    changed: dict[tuple[str, int], str | None] = {**OFF}
    for part in rows:
        changed |= part
    return dump(PORT, FIRST, size=4096, rows=changed)


@pytest.mark.parametrize(
    ("text", "asked", "facts"),
    [
        # The chain of Next Function Numbers: names it, ends before it, goes on to another, is not known.
        (
            WHOLE,
            "01:01.0",
            ["the Next Function Number of 0000:01:00.0 names it: a scan finds it while ARI Forwarding is on"],
        ),
        (
            small(ENDS),
            "01:01.0",
            ["the chain of Next Function Numbers ends with 0000:01:00.0; it does not lead to it"],
        ),
        (
            WHOLE,
            "01:02.0",
            ["the chain of Next Function Numbers goes on to 0000:01:01.0, which is not in the input"],
        ),
        (
            small({(FIRST, 0x100): "00 " * 15 + "00"}),
            "01:02.0",
            [
                (
                    "the chain of Next Function Numbers ends with 0000:01:00.0, which has no ARI capability; "
                    "it does not lead to it"
                )
            ],
        ),
        (
            dump(PORT, FIRST),
            "01:01.0",
            [
                (
                    "whether the chain of Next Function Numbers leads to it is unknown: the input lacks "
                    "bytes 100-fff of 0000:01:00.0"
                ),
                "whether it is a virtual function is unknown: the input lacks bytes 100-fff of 0000:01:00.0",
            ],
        ),
        # Function 0 is not there, or the only one of its device.
        (dump(PORT, size=4096), "01:01.0", ["no function on bus 01 is in the input"]),
        (
            dump(PORT, "01:01.0", size=4096, rows=END),
            "01:02.0",
            ["function 0, 0000:01:00.0, is not in the input: a scan begins with it"],
        ),
        (
            small(SINGLE),
            "01:00.3",
            ["0000:01:00.0 is not multi-function: a scan asks for no other function"],
        ),
        (small(), "01:00.3", []),
        # Virtual functions that are not enabled, on the bus of the physical one and on the next.
        (
            small(sriov(0, 0, 8, 2)),
            "01:01.4",
            [
                "the chain of Next Function Numbers ends with 0000:01:00.0; it does not lead to it",
                (
                    "virtual function 3 of 0000:01:00.0 would be at this address with VF Enable set and "
                    "NumVFs 3 or more (First VF Offset 8, VF Stride 2, TotalVFs 4); a scan does not find it"
                ),
            ],
        ),
        (
            small(sriov(0, 0, 256, 1)),
            "02:00.1",
            [
                (
                    "virtual function 2 of 0000:01:00.0 would be at this address with VF Enable set and "
                    "NumVFs 2 or more (First VF Offset 256, VF Stride 1, TotalVFs 4); a scan does not find it"
                ),
            ],
        ),
        # Bridges without bus numbers.
        (
            small(NO_NUMBERS),
            "05:00.0",
            ["the bus numbers of 0000:00:03.0 are unset, so that nothing below it is reached"],
        ),
        (
            dump(PORT, size=4096, rows=CUT_NUMBERS),
            "05:00.0",
            ["bus numbers of 0000:00:03.0 are not in the input: bytes 19-1a"],
        ),
        (small(), "05:00.0", []),
        (small(), "00:07.0", []),
    ],
)
def test_a_dump(refused: Refused, text: str, asked: str, facts: list[str]) -> None:
    assert list(refused(text, asked=asked).details) == facts


@pytest.mark.parametrize(
    ("capture", "asked", "where", "facts"),
    [
        (
            "traces/lost-explicit-write.bin",
            "03:03.0",
            (
                "it was read 5 times, without a response; by its bus number it would be below 0000:02:00.0 "
                "[03-03], where ARI Forwarding was off when boot 2 ended; function 24 needs it"
            ),
            [
                (
                    "kexec 0: 0000:02:00.0 lost (ARI Forwarding before: on, after: off, decided by the "
                    "incoming kernel: off)"
                ),
                "the chain of Next Function Numbers ends with 0000:03:02.0; it does not lead to it",
            ],
        ),
        (
            "traces/hidden-after-port-reset-in-blackout.bin",
            "03:05.0",
            (
                "it was read 5 times, without a response; by its bus number it would be below 0000:02:00.0 "
                "[03-03], where ARI Forwarding was on when boot 1 ended; function 40 needs it"
            ),
            [
                (
                    "kexec 0: 0000:02:00.0 unconfigured (ARI Forwarding before: on, after: off, decided by "
                    "the incoming kernel: unknown)"
                ),
                "the chain of Next Function Numbers ends with 0000:03:02.0; it does not lead to it",
            ],
        ),
    ],
)
def test_a_trace_across_a_kexec(capture: str, asked: str, where: str, facts: list[str]) -> None:
    with pytest.raises(UsageError) as refusal:
        explain(capture, asked)
    found, said = refusal.value.message.partition(": ")[::2]
    assert found.endswith(f"found function 0000:{asked}")
    assert said == where
    assert list(refusal.value.details) == facts


def with_lines(*lines: str, function: str = "01:02.0") -> str:
    """A log of the port and 01:00.0 with further lines in its scan."""
    said = "".join(f"[    0.004500] {line.replace('01:02.0', function)}\n" for line in lines)
    first, rest = log(PORT, FIRST).split("[    0.005000]", 1)
    return f"{first}{said}[    0.005000]{rest}"


@pytest.mark.parametrize(
    ("before", "lines", "facts"),
    [
        (log(), (), [LOG_UNKNOWN, LOG_LACKS]),
        (
            log(),
            (LISTED, IGNORED),
            [
                LOG_UNKNOWN,
                (
                    "the kernel log of boot 1 names it ('[ffff:ffff] type 7f class 0xffffff', line 7): "
                    f"{NO_RESPONSE}"
                ),
                LOG_LACKS,
            ],
        ),
        # A console that prints errors only.
        (
            log(),
            (IGNORED,),
            [
                LOG_UNKNOWN,
                (
                    "the kernel log of boot 1 names it ('unknown header type 7f, ignoring device', line 6): "
                    f"{NO_RESPONSE}"
                ),
                LOG_LACKS,
                "in PIECE: the '[vvvv:dddd] type' line of 0000:01:02.0, which line 6 names",
            ],
        ),
        # The dump from before shows what the log does not.
        (
            dump(size=4096, rows=END),
            (LISTED,),
            [
                (
                    "kexec 0: 0000:00:03.0 undetermined (ARI Forwarding before: on, after: unknown, decided "
                    "by the incoming kernel: unknown); not in the input: ARI Forwarding of 0000:00:03.0 "
                    "after the kexec, which no kernel log shows"
                ),
                "the chain of Next Function Numbers ends with 0000:01:01.0; it does not lead to it",
                f"the kernel log of boot 1 names it ('[ffff:ffff] type 7f class 0xffffff'): {NO_RESPONSE}",
            ],
        ),
    ],
)
def test_a_kernel_log(
    refused: Refused, tmp_path: Path, before: str, lines: tuple[str, ...], facts: list[str]
) -> None:
    error = refused(before, with_lines(*lines), asked="01:02.0")
    assert [fact.replace(str(tmp_path / "piece1"), "PIECE") for fact in error.details] == facts


def test_a_function_of_the_earlier_kernel_to_which_nothing_responds_later(tmp_path: Path) -> None:
    for name, text in (("before", log()), ("after", with_lines(LISTED, IGNORED, function="01:01.0"))):
        (tmp_path / name).write_text(text)
    paths = [str(tmp_path / "before"), str(tmp_path / "after")]
    story = explain(paths, "01:01.0", Options(join=True))
    said = f"the kernel log of boot 1 names it ('[ffff:ffff] type 7f class 0xffffff', line 7): {NO_RESPONSE}"
    assert story.no_response == [said]
    assert said in plain(explain_report.fill(Page(width=10**6), story))
    assert explain(paths, "01:00.0", Options(join=True)).no_response == []
