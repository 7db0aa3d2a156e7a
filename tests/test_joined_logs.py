"""Kernel logs as pieces of ``--join``: who disappeared, which bridge lost its numbers; ARI stays unknown."""

from __future__ import annotations

from pathlib import Path

import pytest
import zstandard
from small_dumps import EIGHTH, FIRST, OFF, PORT, dump
from small_logs import FIRMWARE, KEXEC, log

from analyzer.analysis import analyze
from analyzer.options import Options

FORMATS = Path(__file__).parents[1] / "traces" / "formats"
LIVE_UPDATE = "pci 0000:00:03.0: Device was preserved by previous kernel across Live Update"
INVALID = "bridge configuration invalid ([bus 00-00]), reconfiguring"
BEFORE = {"dump": dump(size=4096), "log": log()}


@pytest.fixture
def joined(tmp_path):
    def answer(*texts, **options):
        paths = [tmp_path / f"piece{number}" for number in range(len(texts))]
        for path, text in zip(paths, texts, strict=True):
            path.write_text(text)
        return analyze([str(path) for path in paths], Options(join=True, **options)).captures[0]

    return answer


def devices(capture):
    (kexec,) = capture.kexecs
    return {one.bdf[5:]: (one.verdict, one.reason) for one in kexec.devices if one.verdict != "reachable"}


def bridges(capture):
    (kexec,) = capture.kexecs
    return {one.bdf[5:]: one.verdict for one in kexec.bridges}


@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize("preserved", [None, EIGHTH])
@pytest.mark.parametrize(
    ("after", "weight", "verdict", "gone"),
    [
        (log(), "doubt", "undetermined", {}),
        (log(PORT, FIRST), "loss", "findings", {EIGHTH: "not-listed"}),
        (log(PORT), "loss", "findings", {FIRST: "not-listed", EIGHTH: "not-listed"}),
        # What the log may have lost is not gone.
        (log(PORT, FIRST, begin=False), "doubt", "undetermined", {EIGHTH: None}),
        (log(PORT, FIRST, end=False), "doubt", "undetermined", {EIGHTH: None}),
        (
            log(PORT, FIRST, before=("** 3 printk messages dropped **",)),
            "doubt",
            "undetermined",
            {EIGHTH: None},
        ),
    ],
)
def test_who_disappeared(joined, before, preserved, after, weight, verdict, gone):
    capture = joined(BEFORE[before], after, preserved=preserved)
    assert (capture.weight, capture.verdict) == (weight, verdict)
    found = devices(capture)
    assert found.keys() == gone.keys()
    for name, reason in gone.items():
        assert found[name][1] == (reason or "not-captured")
        assert (found[name][0] == "undetermined") == (reason is None)
    assert bridges(capture) == {PORT: "undetermined"}
    (bridge,) = capture.kexecs[0].bridges
    assert "which no kernel log shows" in bridge.missing_access
    assert (bridge.ari_after, bridge.ari_decided) == (None, None)


@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize(
    ("port", "verdict", "observed", "new"),
    [
        (("PCI bridge to [bus 02]",), "renumbered", "unknown", 2),
        (("PCI bridge to [bus 00]", INVALID, "PCI bridge to [bus 01]"), "renumbered", "stock", 1),
        (("PCI bridge to [bus 00]", INVALID), "unconfigured", "inherit", None),
    ],
)
def test_bus_numbers(joined, before, port, verdict, observed, new):
    capture = joined(BEFORE[before], log(PORT, port=port))
    (kexec,) = capture.kexecs
    (bridge,) = kexec.bridges
    assert (bridge.verdict, kexec.observed_policy, bridge.new_secondary) == (verdict, observed, new)
    assert capture.verdict == "findings"
    assert capture.weight is not None


def test_a_dump_after_a_log(joined):
    capture = joined(log(), dump(PORT, FIRST, rows=OFF))
    assert (capture.weight, devices(capture)) == ("loss", {EIGHTH: ("stranded", "ari-off")})
    assert bridges(capture) == {PORT: "undetermined"}


@pytest.mark.parametrize("before", BEFORE)
def test_each_log_is_of_its_own_kernel(joined, before):
    """A log without its end is the outgoing kernel's where it is the first piece."""
    noari = log(PORT, FIRST, EIGHTH).replace("root=/dev/vda", "pci=noari")
    first = joined(noari, BEFORE[before]).kexecs[0]
    second = joined(BEFORE[before], noari).kexecs[0]
    assert (first.noari, second.noari) == (None if before == "dump" else False, True)


def test_the_kind_of_the_kexec(joined):
    ended = log(more=(KEXEC,))
    assert joined(ended, log()).kexecs[0].kind == "plain"
    assert joined(ended, log(before=(LIVE_UPDATE,))).kexecs[0].kind == "live-update"
    assert joined(ended, log()).weight == "doubt"
    assert joined(ended, log(PORT, FIRST)).weight == "doubt"


def test_firmware_before_the_later_piece(joined):
    capture = joined(log(), f"{FIRMWARE}\n{log(PORT, FIRST)}")
    assert (capture.verdict, capture.weight) == ("no-kexec", "doubt")
    assert "order" in [problem.kind for problem in capture.errors]


def test_functions_that_the_outgoing_log_lists_after_its_scan(joined):
    """They may be virtual functions, which the incoming kernel does not have for good reason."""
    virtual = "pci 0000:01:00.1: [1af4:1001] type 00 class 0x020000 PCIe Endpoint"
    capture = joined(log(more=(virtual,)), log())
    assert devices(capture) == {}
    assert any("01:00.1" in text and "virtual" in text for text in capture.kexecs[0].not_in_input)


def test_what_the_incoming_log_says_of_a_function_that_is_gone(joined):
    unknown = "pci 0000:01:01.0: [1af4:1001] type 7f class 0xffffff"
    begin, end = log(PORT, FIRST).rsplit("\n", 2)[:2]
    capture = joined(log(), f"{begin}\n[    0.500000] {unknown}\n{end}\n", preserved=EIGHTH)
    assert devices(capture) == {EIGHTH: ("stranded", "no-response")}
    (warning,) = capture.kexecs[0].warnings
    assert "unknown header type" in warning
    assert "line 9" in warning
    rescanned = joined(log(), log(PORT, FIRST, more=(unknown.replace("7f", "00"),)), preserved=EIGHTH)
    assert devices(rescanned) == {EIGHTH: ("stranded", "not-listed")}
    assert "after the incoming kernel's scan only" in rescanned.kexecs[0].warnings[0]


def console(name):
    data = (FORMATS / name).read_bytes()
    text = zstandard.ZstdDecompressor().decompressobj().decompress(data).decode("latin-1")
    cut = text.index("\n", text.index("Starting new kernel")) + 1
    return text[:cut], text[cut:]


def test_a_real_console_whose_kernel_healed(joined):
    capture = joined(*console("console-healed-by-stock-kernel.txt.zst"))
    assert (capture.verdict, capture.weight) == ("undetermined", "doubt")
    assert devices(capture) == {}
    assert len(capture.kexecs[0].observed.discovered) == 19


def test_a_real_console_with_a_hidden_subtree(joined):
    text = console("console-hidden-after-secondary-bus-reset.txt.zst")
    capture = joined(*text)
    (kexec,) = capture.kexecs
    assert (capture.weight, kexec.kind, kexec.preserved_source) == ("loss", "live-update", "capture")
    changed = {name: verdict for name, verdict in bridges(capture).items() if verdict != "undetermined"}
    assert changed == {"01:00.0": "unconfigured", "02:00.0": "hidden", "02:01.0": "hidden"}
    stranded = [one.bdf[5:] for one in kexec.devices if one.verdict == "stranded"]
    assert stranded == ["02:00.0", "03:00.0", "03:00.1", "03:01.0", "03:01.1", "03:02.0"]
    # One file with both kernels has a boundary of its own; a piece before it is another kernel's.
    (whole,) = [one for one in joined(text[0], "".join(text)).kexecs if one.preserved_source == "capture"]
    assert [one.bdf[5:] for one in whole.devices if one.verdict == "stranded"] == stranded
