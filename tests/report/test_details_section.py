from pathlib import Path

import pytest

from analyzer.analysis import analyze
from analyzer.options import Options
from analyzer.questions.explain.working import DetailsGatherer
from analyzer.report.page import Page, plain
from analyzer.report.text_report import fill

CORPUS = Path(__file__).parents[2] / "traces"


def report(name, verbosity, **options):
    chosen = Options(**options)
    details = DetailsGatherer(chosen)
    analysis = analyze([str(CORPUS / f"{name}.bin")], chosen, studied=details)
    return plain(fill(Page(), analysis, verbosity=verbosity, details=details))


@pytest.fixture(scope="module")
def ladder():
    return [report("lost-explicit-write", verbosity) for verbosity in range(4)]


@pytest.mark.parametrize(
    ("line", "since"),
    [
        # Without a switch: what was lost, and the proof.
        ("#15004  @0x5a500  2026-11-22 06:14:12.840954  write 0000:02:00.0 CAP_EXP+28.w = 0x0000", 0),
        # -v: boots, every bridge and function, the sources of what is said.
        ("  boot 1  kernel    accesses 2128 to 15123", 1),
        ("0000:00:05.0-[06]", 1),
        ("[PCI Express 7.5.1.1.3, Bus Master Enable of a function and of a bridge]", 1),
        # -vv: accesses of bridges that nothing happened to, and each policy's decision.
        ("  0000:00:04.0 root port: accesses that show or change ARI Forwarding", 2),
        (
            (
                "#17546  @0x69378  2026-11-22 06:14:16.158728  boot 2  ARIFwd+  read  0000:00:04.0"
                " CAP_EXP+28.w = 0x0020"
            ),
            2,
        ),
        ("the bridge is preserved: bit 5 is read and used as it is, nothing is written", 2),
        # -vvv: citations, the walk over the functions, every field, what the replay rests on.
        ("[Linux 7.3 drivers/pci/pci.c pci_configure_ari()]", 3),
        ("Function walk under inherit", 3),
        ("EgressBlck-", 3),
        ("boot 2 (kernel), accesses 15124 to 27585: entered by kexec; its scan of the bus begins", 3),
        ("0000:00:05.0: the incoming kernel wrote 1 (stock rule) at access 17888", 3),
        ("bus-number rules of series v9: the newest that fits what the incoming kernel did", 3),
        ("kernel log in the capture: boot 1: Linux 7.3.4 from line", 3),
    ],
)
def test_each_v_adds_to_what_was_there(ladder, line, since):
    text = [" ".join(rung.split()) for rung in ladder]
    assert [" ".join(line.split()) in rung for rung in text] == [since <= number for number in range(4)]


def test_what_an_option_chose_is_told_as_such(ladder):
    assert "policy inherit: the one that the incoming kernel followed" in ladder[3]
    chosen = report("lost-explicit-write", 3, policy="stock", series="v7")
    assert "policy stock as --policy says; observed: inherit" in chosen
    assert "bus-number rules of series v7: as --series says" in chosen


def test_without_kept_details_the_report_says_so():
    analysis = analyze([str(CORPUS / "clean-inherit.bin")])
    text = plain(fill(Page(), analysis, verbosity=2, details=DetailsGatherer(Options())))
    assert "For so many captures the details are not kept" in text
