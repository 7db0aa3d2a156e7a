from dataclasses import replace

import pytest
import result_samples as samples
from result_samples import BELOW_PORT, OTHER, PORT, bridge, capture, device, kexec

from analyzer.capture import Problem
from analyzer.report.page import Page, plain
from analyzer.report.text_report import fill
from analyzer.results import Boot, Divergence, ErrorBit, Secondary

LOST = """\
LOST: ARI Forwarding on 0000:02:00.0; 3 preserved devices stranded

lost.bin  (aritrace, 20,123 accesses, 1 kexec)

kexec 0: live-update, boot 1 (Linux 7.3.4) to boot 2 (Linux 7.3.4), at access 9900, blackout 1.250 s
  the incoming kernel inherited ARI Forwarding on preserved bridges; verdicts under policy inherit,
  bus numbers by patch series v7. Preserved: 11 functions, from the kernel log.

    0000:00:03.0-[01-04]    root port  ARIFwd- -> ARIFwd-  off  preserved
    \\-0000:01:00.0-[02-04]  switch upstream  preserved
  X   \\-0000:02:00.0-[03]   switch downstream  ARIFwd+ -> ARIFwd-  LOST  preserved
        +-0000:03:00.0      [1b36:0010]  preserved, found
        +-0000:03:00.1      [1b36:0010]  preserved, found
  X     +-0000:03:01.0      [1b36:0010]  STRANDED: only ARI can address it and ARI is off
  X     +-0000:03:01.1      [1b36:0010]  STRANDED: only ARI can address it and ARI is off
  X     \\-0000:03:02.0      [1b36:0010]  STRANDED: only ARI can address it and ARI is off

  0000:02:00.0 lost ARI Forwarding
    cause: explicit-write: a register write cleared the bit before the incoming kernel ran;
    confidence high
    ARI Forwarding: last seen on at access 9000, first seen off at access 9876 (outgoing)
       #9876  @0x12ab34  2026-11-22 06:14:07.501553  write 0000:02:00.0 CAP_EXP+28.w = 0x0000  clears ARI Forwarding Enable
      #10001  @0x13ab34  2026-11-22 06:14:09.500000  read  0000:02:00.0 CAP_EXP+28.w = 0x0000  first read after the kexec
    stranded below it: 0000:03:01.0, 0000:03:01.1, 0000:03:02.0

  What to do now
    - Reboot the host: preserved devices are stranded, and only a full enumeration brings them back.
"""  # noqa: E501 evidence lines are never wrapped

POLICIES = """\
  What each kernel policy would have found (*: the verdicts are given under it)
       policy     found  stranded
       stock         11         0  sets the bit whenever function 0 can do ARI
    *  inherit        8         3  0000:03:01.0, 0000:03:01.1, 0000:03:02.0
       serialize     11         0  restores the bit that the outgoing kernel used (proposal, in no kernel)
       heal          11         0  sets the bit if a preserved function needs it (proposal, in no kernel)

  Self-check: the incoming kernel enumerated exactly the 8 functions predicted.
"""

UNKNOWN = """\
       policy     found  stranded  unknown
       stock          9         0        2  sets the bit whenever function 0 can do ARI
    *  inherit        8         3        0  0000:03:01.0, 0000:03:01.1, 0000:03:02.0
       serialize     11         0        0  restores the bit that the outgoing kernel used (proposal, in no kernel)
       heal          11         0        0  sets the bit if a preserved function needs it (proposal, in no kernel)
    Unknown: whether they find a preserved function depends on what the input does not show.
"""  # noqa: E501


def report(*captures, fancy=False, width=100, **more):
    return plain(fill(Page(width=width, fancy=fancy), samples.analysis(*captures), **more))


def test_a_loss_reads_like_this():
    text = report(samples.lost())
    assert text.startswith(LOST)
    assert text.endswith(POLICIES)
    assert "fails with EBUSY" in text


def test_a_utf8_terminal_gets_real_glyphs():
    text = report(samples.lost(), fancy=True)
    assert "ARIFwd+ \u2192 ARIFwd-" in text
    assert "\u2717     \u2514\u25000000:03:02.0" in text.replace("\u2500", "\u2500")


def test_several_captures_get_a_line_each_and_details_where_something_was_found():
    text = report(samples.clean(), samples.lost(), samples.unreadable())
    *_, overview, whole = text.split("\n\n")
    assert whole == (
        "LOST: 1 of 3 captures; 3 preserved devices stranded; the others: 1 unreadable, 1 clean\n"
    )
    assert overview.splitlines() == [
        (
            "  clean       clean.bin  1 kexec, ARI Forwarding kept on 2 bridges; no ARI Forwarding or bus"
            " number lost, no device stranded"
        ),
        "  LOST        lost.bin   ARI Forwarding on 0000:02:00.0; 3 preserved devices stranded",
        "  UNREADABLE  bad.bin    expected a capture, found 7 bytes of text; see the README",
    ]
    assert text.count("kexec 0:") == 1
    assert report(samples.clean(), samples.lost(), verbosity=1).count("kexec 0:") == 2


def test_many_captures_are_an_overview_that_says_how_to_see_one():
    many = [samples.lost(f"{number}.bin") for number in range(4)]
    text = report(*many)
    assert "kexec 0:" not in text
    assert text.splitlines()[0] == (
        "  LOST  0.bin  ARI Forwarding on 0000:02:00.0; 3 preserved devices stranded"
    )
    assert text.splitlines()[-2:] == [
        "'analyze CAPTURE' shows one of them in full, -v all of them.",
        "LOST: 4 of 4 captures; 12 preserved devices stranded",
    ]
    assert report(*many, verbosity=1).count("kexec 0:") == 4


def test_a_healed_bridge_shows_all_three_states():
    text = report(samples.healed())
    assert "! 0000:02:00.0-[03]  switch downstream  ARIFwd+ -> ARIFwd- -> ARIFwd+  HEALED" in text
    assert "inherit        8         3" in text
    assert "assumed preserved" in text
    assert "The input says neither which devices were preserved across this kexec" in text


def test_the_topmost_cause_names_the_ancestor():
    text = report(samples.hidden())
    assert "cause: secondary-bus-reset (0000:00:03.0)" in text
    assert "UNCONFIGURED" in text
    assert "HIDDEN" in text


def test_what_is_undetermined_names_the_missing_access():
    text = report(samples.undetermined())
    assert "The capture is cut short: it is analysed up to the cut." in text
    assert "? 0000:02:00.0: not in the capture: a read of CAP_EXP+28 after the kexec" in text


def test_a_capture_without_a_kexec_says_what_to_do():
    text = report(capture("x.bin", [], "no-kexec"))
    assert "it says nothing about a kexec. If you know that there was a kexec, give" in text.replace(
        "\n  ", " "
    )
    cut = report(capture("x.bin", [], "no-kexec", truncated=True))
    assert "what came after the cut is unknown" in cut


def test_what_a_policy_may_or_may_not_find_stands_beside_what_it_strands():
    result = samples.lost()
    stock = result.kexecs[0].policies["stock"]
    result.kexecs[0].policies["stock"] = replace(
        stock, discovered=stock.discovered[:-2], undetermined=stock.discovered[-2:]
    )
    assert UNKNOWN in report(result)


def test_divergences_warnings_secondary_findings_and_problems_are_shown():
    result = samples.lost(
        divergences=[Divergence(OTHER, True, False, "", explained=False)],
        warnings=["preserved sets disagree"],
        secondary=[Secondary(PORT, "acs-lost", "ACS control was 0x1d, is 0", [samples.FIRST_READ])],
    )
    result.errors.append(Problem("damaged", "lost.bin", 4096, "chunk skipped"))
    result.dropped = 7
    text = report(result)
    assert "prediction and observation differ for 1 function, 1 of them unexplained" in text
    assert "- 0000:00:04.0 predicted, not enumerated, unexplained" in text
    assert "Warning: preserved sets disagree" in text
    assert "- 0000:02:00.0 acs-lost: ACS control was 0x1d, is 0" in text
    assert "damaged: lost.bin at byte 0x1000: chunk skipped" in text
    assert "7 records missing or unusable: what they held is unknown" in text


ERROR = ErrorBit(
    "ECAP_AER+04.l", "UESta", "SDES", "Surprise Down Error", "fatal", False, False, 7, 9, 120_000
)
UNSUPPORTED = replace(ERROR, bit="UnsupReq", severity="non-fatal")
SEEN = {
    "fatal": Secondary(PORT, "error-status", "UESta: SDES+", errors=[ERROR]),
    "non-fatal": Secondary(
        PORT, "error-status", "UESta: CmpltTO+", errors=[replace(ERROR, bit="CmpltTO", severity="non-fatal")]
    ),
    "unsupported": Secondary(
        PORT,
        "error-status",
        "UESta: UnsupReq+",
        errors=[UNSUPPORTED],
    ),
    "masked": Secondary(OTHER, "error-status", "UESta: SDES+", errors=[replace(ERROR, masked=True)]),
    "correctable": Secondary(
        PORT,
        "error-status",
        "CESta: BadTLP+",
        errors=[replace(ERROR, status="CESta", bit="BadTLP", severity="correctable")],
    ),
}
COMMON = "error bits that healthy hosts show too, on 2 functions (-v lists them): {}"


@pytest.mark.parametrize(
    ("seen", "verbosity", "lines"),
    [
        (["fatal"], 0, ["0000:02:00.0 error-status: UESta: SDES+"]),
        (["non-fatal"], 0, ["0000:02:00.0 error-status: UESta: CmpltTO+"]),
        (
            ["unsupported", "fatal", "masked", "correctable"],
            0,
            [
                "0000:02:00.0 error-status: UESta: SDES+",
                COMMON.format("UESta UnsupReq, UESta SDES, CESta BadTLP"),
            ],
        ),
        (
            ["unsupported", "masked"],
            1,
            ["0000:02:00.0 error-status: UESta: UnsupReq+", "0000:00:04.0 error-status: UESta: SDES+"],
        ),
    ],
)
def test_error_bits_that_healthy_hosts_show_take_one_line(
    seen: list[str], verbosity: int, lines: list[str]
) -> None:
    text = report(samples.clean(secondary=[SEEN[name] for name in seen]), width=200, verbosity=verbosity)
    _, _, rest = text.partition("Also seen\n")
    assert [line.strip().removeprefix("- ") for line in rest.splitlines() if line.strip()] == lines


@pytest.mark.parametrize(
    "note", ["read and clean: no PCIe error was recorded on the path (0000:02:00.0)", None]
)
def test_errors_stand_beside_the_cause(note: str | None) -> None:
    result = samples.lost()
    bridges = result.kexecs[0].bridges
    bridges[3] = replace(bridges[3], path_errors="clean", path_errors_note=note)
    lines = [line.strip() for line in report(result, width=200).splitlines()]
    cause = next(number for number, line in enumerate(lines) if line.startswith("cause: "))
    assert lines[cause + 2].startswith(f"errors: {note}" if note else "#")


def test_what_a_dump_lacks_is_not_charged_to_a_recorder():
    short = samples.clean("short.txt")
    short.missing_dwords = 208
    for text in (report(short), report(short, samples.clean("whole.txt"))):
        assert "208 dwords of the dump are missing: what they held is unknown." in text
        assert "recorder" not in text


def test_limits_of_a_clean_capture_are_shown_among_several():
    cut = samples.clean("cut.bin", warnings=["sets disagree"])
    text = report(cut, samples.clean("whole.bin"))
    assert "Warning: kexec 0: sets disagree" in text
    assert "kexec 0: live-update" not in text


def test_thousands_of_functions_still_fit_on_a_page():
    found = [f"0000:03:{n >> 3:02x}.{n & 7}" for n in range(100)]
    lost = [f"0000:03:{n >> 3:02x}.{n & 7}" for n in range(100, 256)]
    devices = [device(PORT)]
    above = dict.fromkeys((*found, *lost), PORT)
    samples_devices = [
        type(devices[0])(bdf, None, True, above[bdf], "stranded" if bdf in lost else "reachable", None)
        for bdf in above
    ]
    result = capture("x.bin", [kexec([bridge(PORT, "lost")], devices=[*devices, *samples_devices])])
    text = report(result)
    assert "... 93 more functions found (-v)" in text
    assert "... 117 more functions not found (-v)" in text
    assert len(text.splitlines()) < 120
    assert len(report(result, verbosity=1).splitlines()) > 256


def test_bus_numbers_that_form_a_cycle_do_not_hang_the_tree():
    one = replace(bridge("0000:01:00.0", "lost"), secondary=2, subordinate=2)
    two = replace(bridge("0000:02:00.0", "lost"), secondary=1, subordinate=1)
    text = report(capture("x.bin", [kexec([one, two], devices=[])]))
    assert "0000:01:00.0-[02]" in text
    assert "0000:02:00.0-[01]" in text


def test_hostile_strings_cannot_act():
    evil = "\x1b]0;owned\x07[red]\u202e\nLOST: fake\x9b2J"
    result = samples.lost(evil, warnings=[evil], secondary=[Secondary(PORT, evil, evil)])
    result.host = evil
    result.errors.append(Problem(evil, evil, 0, evil))
    result.boots[1] = type(result.boots[1])(1, "kernel", evil, evil, 0, 1, None, None)
    result.kexecs[0].bridges[3].evidence[0] = type(samples.FIRST_READ)(
        1, evil, 0, 0, "read", PORT, evil, evil, evil
    )
    text = report(result, samples.clean(), verbosity=2)
    assert not any(ord(character) < 0x20 and character != "\n" for character in text)
    assert not any(character in text for character in "\x1b\x07\x9b\u202e\x7f")
    assert not any(line.startswith("LOST: fake") for line in text.splitlines())


def test_lists_are_shortened_unless_asked_for():
    many = [Divergence(f"0000:{n:02x}:00.0", True, False, "", explained=True) for n in range(40)]
    assert "and 28 more (-vv lists all)" in report(samples.lost(divergences=many))
    assert "0000:27:00.0 predicted" in report(samples.lost(divergences=many), verbosity=2)


def test_evidence_names_its_file_where_there_are_several():
    result = samples.lost()
    result.files.append(type(result.files[0])("k2.dat", "trace-dat", "0" * 64))
    assert "lost.bin   #9876" in report(result)


def test_assumed_functions_are_told():
    result = samples.lost()
    ran = result.kexecs[0].policies["inherit"]
    result.kexecs[0].policies["inherit"] = type(ran)(ran.discovered, ran.stranded, BELOW_PORT[:2])
    assert "Assumed: 2 functions that the incoming kernel did not read" in report(result)


@pytest.mark.parametrize(
    ("clock", "said"), [("realtime", "times in UTC"), ("tai", "times in TAI"), (None, "times in UTC")]
)
def test_which_clock_the_dates_are_in_stands_beside_the_name(clock, said):
    boots = [
        Boot(1, "kernel", "7.3.4", None, 0, 20_122, 1_795_328_047_501_553_000, 1_795_328_058_000_000_000)
    ]
    dated = report(capture("a.bin", [], "no-kexec", boots=boots, clock=clock))
    assert f"a.bin  (aritrace, 20,123 accesses, 0 kexecs, {said})" in dated
    assert "times in" not in report(capture("a.bin", [], "no-kexec", clock="boot"))
