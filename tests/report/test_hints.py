"""What to do with captures that hold no kexec."""

import pytest
import result_samples as samples
from result_samples import capture

from analyzer.report import hints, problems
from analyzer.report.hints import Answered
from analyzer.report.page import Page, plain
from analyzer.report.text_report import fill

NEXT = "what depends on ARI Forwarding at the next kexec: analyze atrisk"
JOIN = "are from one machine, before and after a kexec, name them in order: analyze --join"

AFTER = "what a kexec changed, with a snapshot from after it: analyze --join"


def snapshots(*names):
    return [Answered(name, snapshot=True) for name in names]


@pytest.mark.parametrize(
    ("captures", "lines"),
    [
        ([], []),
        ([Answered("a.bin", kexecs=1)], []),
        (
            snapshots("before.txt"),
            [f"{NEXT} before.txt", f"{AFTER} before.txt AFTER"],
        ),
        (snapshots("a.txt", "b.txt"), [f"if these snapshots {JOIN} a.txt b.txt", f"{NEXT} FILE"]),
        (
            [Answered("k1.dat"), *snapshots("a b.txt"), Answered("x.bin", kexecs=2)],
            [f"if these captures {JOIN} k1.dat 'a b.txt'", f"{NEXT} FILE"],
        ),
        (snapshots(*"abcde"), [f"if two of these snapshots {JOIN} BEFORE AFTER", f"{NEXT} FILE"]),
        ([Answered("k1.dat")], [f"{NEXT} k1.dat"]),
        # What the report says of the capture itself is enough.
        ([Answered("cut.dat", whole=False)], []),
        ([Answered("a.dat + b.dat", joined=True)], []),
    ],
)
def test_hints(captures, lines):
    assert [str(hint) for hint in hints.no_kexec(captures)] == lines


def snapshot(path, form="lspci-dump"):
    return capture(path, [], "no-kexec", format=form)


def test_the_text_report_has_it_before_the_overview():
    text = plain(fill(Page(), samples.analysis(snapshot("a.txt"), snapshot("b.txt", "earlydump"))))
    assert text.startswith(
        "  Hint: if these snapshots are from one machine, before and after a kexec, name them in order:\n"
        "    analyze --join a.txt b.txt\n"
        "  Hint: what depends on ARI Forwarding at the next kexec:\n"
        "    analyze atrisk FILE\n\n"
    )
    assert text.endswith("\n\nNO KEXEC: 2 of 2 captures\n")
    assert "Hint" not in plain(fill(Page(), samples.analysis(samples.lost(), samples.clean())))


def test_machine_formats_have_it_on_standard_error(capsys):
    problems.print_warnings(samples.analysis(snapshot("a.txt"), snapshot("b.txt")))
    assert capsys.readouterr().err == (
        f"analyze: hint: if these snapshots {JOIN} a.txt b.txt\nanalyze: hint: {NEXT} FILE\n"
    )
