import junitparser
import pytest
import result_samples as samples

from analyzer.report.junit_report import junit_text
from analyzer.results import Divergence


def read(*captures, **more):
    return junitparser.JUnitXml.fromstring(junit_text(samples.analysis(*captures, **more)).encode())


def diverging(path="odd.bin"):
    odd = Divergence(samples.OTHER, predicted=True, observed=False, note="", explained=False)
    return samples.clean(path, divergences=[odd])


def no_kexec(path="short.bin"):
    return samples.capture(path, [], "no-kexec")


@pytest.mark.parametrize(
    ("capture", "options", "outcomes"),
    [
        (samples.clean(), {}, [[], []]),
        (samples.lost(), {}, [[], [("failure", "ARI001")]]),
        (samples.hidden(), {}, [[], [("failure", "ARI003")]]),
        (samples.healed(preserved_source="dmesg"), {}, [[], []]),
        (samples.healed(preserved_source="dmesg"), {"strict": True}, [[], [("failure", "ARI002")]]),
        (samples.undetermined(), {}, [[("error", "undetermined")], [("error", "ARI010")]]),
        (
            samples.undetermined(),
            {"strict": True},
            [[("error", "undetermined")], [("error", "ARI010")]],
        ),
        (
            samples.undetermined(),
            {"strict": True, "selected": frozenset({"ARI001"})},
            [[("skipped", "undetermined")], []],
        ),
        (diverging(), {}, [[], [("error", "ARI011")]]),
        (samples.unreadable(), {}, [[("error", "unsupported")]]),
        (no_kexec(), {}, [[("skipped", "no-kexec")]]),
    ],
)
def test_a_case_for_the_capture_and_one_for_each_kexec(capture, options, outcomes):
    (suite,) = read(capture, **options)
    assert suite.name == capture.path
    names = ["capture", *(f"kexec {kexec.index}" for kexec in capture.kexecs)]
    assert [case.name for case in suite] == names
    assert {case.classname for case in suite} == {capture.path}
    found = [[(result._tag, result.type) for result in case.result] for case in suite]
    assert found == outcomes


def test_counts_are_those_of_the_cases():
    xml = read(samples.lost(), samples.clean(), samples.undetermined(), samples.unreadable())
    assert (xml.tests, xml.failures, xml.errors) == (7, 1, 3)
    assert sum(suite.skipped for suite in xml) == 0
    before = [(suite.tests, suite.failures, suite.errors, suite.skipped) for suite in xml]
    xml.update_statistics()
    assert [(suite.tests, suite.failures, suite.errors, suite.skipped) for suite in xml] == before


def test_a_failure_says_what_was_lost_and_shows_the_evidence():
    (suite,) = read(samples.lost())
    (failure,) = list(suite)[1].result
    assert failure.message == "ARI Forwarding lost on 0000:02:00.0 (explicit-write) (and 3 more)"
    assert "ARI007 error: preserved device 0000:03:02.0 stranded (ari-off)" in failure.text
    assert "#9876  @0x12ab34" in failure.text
    assert "Reboot the host" in failure.text


def test_a_case_that_passed_tells_what_was_seen():
    (suite,) = read(samples.healed())
    assert "ARI002 warning: ARI Forwarding lost and healed" in list(suite)[1].system_out


def test_no_text_of_a_capture_can_break_the_xml():
    hostile = "".join(map(chr, range(0x20))) + "]]><x/>&\"'\ufffe\ud800\udcff\u202e\U0001f600"
    result = samples.lost(hostile)
    result.host = hostile
    text = junit_text(samples.analysis(result, samples.unreadable(hostile)))
    assert text.isascii()
    suite = next(iter(junitparser.JUnitXml.fromstring(text.encode())))
    assert suite.name.startswith("\\x00\\x01")
    assert suite.name.endswith("]]><x/>&\"'\\ufffe\\ud800\\xff\\u202e\U0001f600")
    assert suite.hostname == suite.name
