"""PCIe errors recorded across a kexec: named bit by bit beside the cause, never a cause of one lost bit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
import pytest
from simulator import Kernel, Machine, Recording
from small_dumps import PORT as DUMPED
from small_dumps import dump
from stories import BELOW_PORT, BELOW_SWITCH, Story, port, switch, tell

from analyzer import Options, analyze
from analyzer.analysis import analyze_capture
from analyzer.results import ErrorBit
from analyzer.verdicts import error_status

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from analyzer.results import CaptureResult, KexecResult

ROOT, UPSTREAM, DOWNSTREAM, DEVICE = "0000:00:01.0", "0000:01:00.0", "0000:02:00.0", "0000:03:00.0"
DEVCTL2, UESTA, CESTA = "CAP_EXP+28.w", "ECAP_AER+04.l", "ECAP_AER+10.l"


def errors_of(kexec: KexecResult) -> dict[str, str]:
    """Function -> registers and bits, as lspci writes them."""
    found: dict[str, list[str]] = {}
    for item in kexec.secondary:
        if item.errors:
            bits = " ".join(f"{error.bit}+" for error in item.errors)
            found.setdefault(item.bdf, []).append(f"{item.errors[0].status}: {bits}")
    return {name: ", ".join(parts) for name, parts in sorted(found.items())}


def happened(blackout: Callable[[Machine], object], **more: object) -> Story:
    return tell(switch(), preserve=BELOW_SWITCH, blackout=blackout, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("happening", "expected", "alarms"),
    [
        (lambda _: None, {}, []),
        (
            lambda machine: machine.error(ROOT, "SDES", "DLP"),
            {ROOT: "RootSta: UERcvd+ MultUERcvd+ FirstFatal+ FatalMsg+, UESta: DLP+ SDES+"},
            ["ARI018"],
        ),
        # what probing for functions causes on every host
        (
            lambda machine: machine.error(DEVICE, "UnsupReq", "AdvNonFatalErr"),
            {
                ROOT: "RootSta: CERcvd+ UERcvd+ NonFatalMsg+",
                DEVICE: "CESta: AdvNonFatalErr+, UESta: UnsupReq+",
            },
            [],
        ),
        (
            lambda machine: machine.error(UPSTREAM, "RxErr", "BadTLP", "BadDLLP", "Rollover", "Timeout"),
            {
                ROOT: "RootSta: CERcvd+ MultCERcvd+",
                UPSTREAM: "CESta: RxErr+ BadTLP+ BadDLLP+ Rollover+ Timeout+",
            },
            [],
        ),
        (lambda machine: machine.error(DOWNSTREAM, "CmpltTO"), {
            ROOT: "RootSta: UERcvd+ NonFatalMsg+", DOWNSTREAM: "UESta: CmpltTO+",
        }, []),
        # masked by default: UncorrIntErr, fatal as it is
        (lambda machine: machine.error(DEVICE, "UncorrIntErr"), {DEVICE: "UESta: UncorrIntErr+"}, []),
        # a bit that lspci has no word for
        (lambda machine: machine.poke(DEVICE, UESTA, 0x0800_0000), {DEVICE: "UESta: bit 27+"}, []),
        # a number is no error
        (lambda machine: machine.poke(ROOT, "ECAP_AER+30.l", 0x0800_0000), {}, []),
    ],
    ids=["none", "link", "unsupported", "correctable", "non-fatal", "masked", "unnamed", "message number"],
)  # fmt: skip
@pytest.mark.parametrize("qemu", [False, True], ids=["widths", "no widths"])
def test_errors_are_named_and_only_fatal_ones_alarm(
    happening: Callable[[Machine], object], expected: dict[str, str], alarms: list[str], qemu: bool
) -> None:
    story = happened(happening, qemu=qemu)
    assert errors_of(story.kexec) == expected
    assert story.alarms == alarms
    assert story.verdict(DOWNSTREAM) == "kept high"
    assert story.result.verdict == ("findings" if alarms else "clean")
    assert story.result.weight is None


def test_one_error_in_full() -> None:
    story = happened(lambda machine: machine.poke(UPSTREAM, UESTA, 0x20))
    (found,) = story.kexec.secondary
    clear, read = found.evidence
    (error,) = found.errors
    assert error == ErrorBit(
        register=UESTA,
        status="UESta",
        bit="SDES",
        name="Surprise Down Error",
        severity="fatal",
        severity_by_default=False,
        masked=False,
        last_clear=clear.access,
        first_set=read.access,
        before_kexec_ns=error.before_kexec_ns,
    )
    assert (clear.op, clear.value, clear.note) == ("read", "0x00000000", "clear")
    assert (read.op, read.value, read.note) == ("read", "0x00000020", "first read after the kexec: SDES+")
    outgoing, incoming = story.result.boots[-2:]
    assert outgoing.first_access <= (clear.access or 0) <= outgoing.last_access
    assert incoming.first_access <= (read.access or 0) <= incoming.last_access
    its = accesses(story, UPSTREAM, UESTA)
    assert [(op, seq) for op, seq in its if clear.access < seq < read.access] == [  # type: ignore[operator]
        ("write", clear.access + 1)  # type: ignore[operator]
    ]
    lead = f"{(error.before_kexec_ns or 0) / 1e6:.3f} ms"
    assert found.note == (
        f"UESta: SDES+, set between access {clear.access}, {lead} before the kexec, and access "
        f"{read.access}: Surprise Down Error (fatal)"
    )
    (finding,) = [item for item in story.kexec.findings if item.code == "ARI018"]
    assert finding.text == f"{UPSTREAM} recorded a fatal PCIe error (UESta: SDES+)"


def accesses(story: Story, name: str, register: str) -> list[tuple[str, int]]:
    """Accesses to the first byte of a register."""
    from simulator.register_names import locate

    offset, _ = locate(story.recording.machine.function(name), register)
    bus, devfn = int(name[5:7], 16), int(name[8:10], 16) << 3 | int(name[11])
    its = (pl.col("bus") == bus) & (pl.col("devfn") == devfn) & (pl.col("offset") == offset)
    return story.recording.capture().accesses.filter(its).select("op", "seq").rows()


def without(story: Story, name: str, register: str, *, kexec: str) -> CaptureResult:
    """The same capture without the accesses to a register before or after the kexec."""
    dropped = [
        seq
        for _, seq in accesses(story, name, register)
        if (seq >= story.kexec.at_access) == (kexec == "after")
    ]
    capture = story.recording.capture()
    capture.accesses = capture.accesses.filter(~pl.col("seq").is_in(dropped))
    return analyze_capture(capture, Options(preserved=",".join(BELOW_SWITCH)))


def test_an_error_before_the_kexec_dates_from_before_it() -> None:
    """Set and read while the outgoing kernel ran, not cleared: not new, and a new one leaves no trace."""
    story = tell(
        switch(),
        preserve=BELOW_SWITCH,
        before=lambda recording: (
            recording.machine.poke(UPSTREAM, UESTA, 0x20),
            recording.getpci(UPSTREAM, UESTA),
            recording.getpci(DOWNSTREAM, DEVCTL2),
        ),
        blackout=lambda machine: machine.clear(DOWNSTREAM, DEVCTL2, 0x20),
    )
    assert errors_of(story.kexec) == {}
    bridge = story.bridge(DOWNSTREAM)
    assert bridge.path_errors == "not-captured"
    assert f"{UPSTREAM} (UESta: SDES was set before already)" in (bridge.path_errors_note or "")


def test_an_error_that_the_outgoing_kernel_cleared_is_new() -> None:
    story = tell(
        switch(),
        preserve=BELOW_SWITCH,
        before=lambda recording: (
            recording.machine.poke(UPSTREAM, UESTA, 0x20),
            recording.setpci(UPSTREAM, UESTA, 0x20),
        ),
        blackout=lambda machine: machine.poke(UPSTREAM, UESTA, 0x20),
    )
    (found,) = story.kexec.secondary
    assert found.evidence[0].op == "write"
    assert errors_of(story.kexec) == {UPSTREAM: "UESta: SDES+"}


def test_an_error_of_unknown_age() -> None:
    story = happened(lambda machine: machine.poke(UPSTREAM, UESTA, 0x20))
    (found,) = without(story, UPSTREAM, UESTA, kexec="before").kexecs[0].secondary
    (error,) = found.errors
    assert (error.last_clear, error.before_kexec_ns) == (None, None)
    assert "set at an unknown time before access" in found.note


def test_severity_by_default() -> None:
    """Neither kernel's save of the state, which reads the register, is in the capture."""
    story = happened(lambda machine: machine.poke(UPSTREAM, UESTA, 0x1020))
    dropped = [seq for _, seq in accesses(story, UPSTREAM, "ECAP_AER+0c.l")]
    capture = story.recording.capture()
    capture.accesses = capture.accesses.filter(~pl.col("seq").is_in(dropped))
    (found,) = analyze_capture(capture, Options(preserved=",".join(BELOW_SWITCH))).kexecs[0].secondary
    assert [(error.bit, error.severity, error.severity_by_default) for error in found.errors] == [
        ("SDES", "fatal", True),
        ("TLP", "non-fatal", True),
    ]
    assert "Surprise Down Error (fatal by default: ECAP_AER+0c.l is not in the capture)" in found.note


def test_severity_of_the_register() -> None:
    """Somebody made Poisoned TLP fatal and Surprise Down not."""
    story = tell(
        switch(),
        preserve=BELOW_SWITCH,
        before=lambda recording: recording.setpci(UPSTREAM, "ECAP_AER+0c.l", 0x1000),
        blackout=lambda machine: machine.poke(UPSTREAM, UESTA, 0x1020),
    )
    (found,) = story.kexec.secondary
    assert [(error.bit, error.severity) for error in found.errors] == [
        ("SDES", "non-fatal"),
        ("TLP", "fatal"),
    ]


def test_a_mask_that_is_not_in_the_capture_alarms_nobody() -> None:
    story = happened(lambda machine: machine.poke(UPSTREAM, UESTA, 0x20))
    dropped = [seq for _, seq in accesses(story, UPSTREAM, "ECAP_AER+08.l")]
    capture = story.recording.capture()
    capture.accesses = capture.accesses.filter(~pl.col("seq").is_in(dropped))
    kexec = analyze_capture(capture, Options(preserved=",".join(BELOW_SWITCH))).kexecs[0]
    (found,) = kexec.secondary
    assert found.errors[0].masked is None
    assert "Surprise Down Error (fatal; ECAP_AER+08.l is not in the capture)" in found.note
    assert [item.severity for item in kexec.findings if item.code == "ARI018"] == ["note"]


# -- beside a cause -----------------------------------------------------------------------------------------


def reset_with(*errors: str, on: str = ROOT) -> Callable[[Machine], object]:
    def happening(machine: Machine) -> None:
        machine.conventional_reset(UPSTREAM)
        for error in errors:
            machine.error(on, error)

    return happening


@pytest.mark.parametrize(
    ("happening", "verdict", "beside"),
    [
        (reset_with(), "unconfigured hot-reset medium", "clean"),
        (reset_with("SDES"), f"unconfigured upstream-link-down {ROOT} medium", "fatal"),
        (reset_with("DLP"), f"unconfigured upstream-link-down {ROOT} medium", "fatal"),
        (reset_with("UnsupReq"), "unconfigured hot-reset medium", "recorded"),
        (reset_with("RxOF"), "unconfigured hot-reset medium", "fatal"),
        (reset_with("BadTLP"), "unconfigured hot-reset medium", "recorded"),
        # a port's own link does not reset the port
        (reset_with("SDES", on=UPSTREAM), "unconfigured hot-reset medium", "fatal"),
        (
            lambda machine: (machine.power_cycle(UPSTREAM), machine.error(ROOT, "SDES")),
            "unconfigured power-cycle medium",  # its sticky masks say more
            "fatal",
        ),
    ],
    ids=["clean", "surprise down", "data link", "unsupported", "overflow", "correctable", "own", "power"],
)
def test_a_lost_link_above_explains_a_reset(
    happening: Callable[[Machine], object], verdict: str, beside: str
) -> None:
    story = happened(happening)
    assert story.verdict(UPSTREAM) == verdict
    assert story.bridge(UPSTREAM).path_errors == beside


def test_an_error_that_the_outgoing_kernel_handled_is_not_clean() -> None:
    """Its handler read and cleared the bit after ARI Forwarding was last seen on."""

    def handle(recording: Recording) -> None:
        recording.machine.poke(UPSTREAM, UESTA, 0x1000)
        recording.getpci(UPSTREAM, UESTA)
        recording.setpci(UPSTREAM, UESTA, 0x1000)

    story = tell(
        switch(),
        preserve=BELOW_SWITCH,
        before=handle,
        blackout=lambda machine: machine.clear(DOWNSTREAM, DEVCTL2, 0x20),
    )
    bridge = story.bridge(DOWNSTREAM)
    assert errors_of(story.kexec) == {}
    assert bridge.path_errors == "recorded"
    read = accesses(story, UPSTREAM, UESTA)[-4][1]  # then the write, and the incoming kernel's pair
    assert f"{UPSTREAM} UESta: TLP+, set between access " in (bridge.path_errors_note or "")
    assert f" and access {read} of the outgoing kernel: Poisoned" in (bridge.path_errors_note or "")


def test_an_error_that_was_handled_before_the_window_is_none_of_it() -> None:
    def handle(recording: Recording) -> None:
        recording.machine.poke(UPSTREAM, UESTA, 0x1000)
        recording.getpci(UPSTREAM, UESTA)
        recording.setpci(UPSTREAM, UESTA, 0x1000)
        recording.getpci(DOWNSTREAM, DEVCTL2)

    story = tell(
        switch(),
        preserve=BELOW_SWITCH,
        before=handle,
        blackout=lambda machine: machine.clear(DOWNSTREAM, DEVCTL2, 0x20),
    )
    assert story.bridge(DOWNSTREAM).path_errors == "clean"


def test_a_power_cycle_erases_what_was_recorded() -> None:
    story = happened(lambda machine: machine.power_cycle(UPSTREAM))
    bridge = story.bridge(UPSTREAM)
    assert (bridge.cause, bridge.path_errors, bridge.path_errors_note) == (
        "power-cycle",
        "not-captured",
        (
            f"not captured: {UPSTREAM} (it lost power, and its error status with it); "
            f"read and clean: {ROOT}; whether a PCIe error was recorded on the path is not known"
        ),
    )


def test_a_surprise_down_above_a_bridge_that_is_gone() -> None:
    story = happened(lambda machine: (machine.surprise_down(ROOT), machine.kill(UPSTREAM)))
    assert story.verdict(UPSTREAM) == f"gone upstream-link-down {ROOT} medium"
    assert story.bridge(UPSTREAM).path_errors == "fatal"


@pytest.mark.parametrize("error", ["SDES", "DLP", "MalfTLP", "UnsupReq"])
@pytest.mark.parametrize("where", [ROOT, UPSTREAM, DOWNSTREAM])
def test_no_error_clears_one_bit(error: str, where: str) -> None:
    story = happened(lambda machine: (machine.clear(DOWNSTREAM, DEVCTL2, 0x20), machine.error(where, error)))
    assert story.verdict(DOWNSTREAM) == "lost selective-loss medium"
    bridge = story.bridge(DOWNSTREAM)
    assert bridge.path_errors == ("recorded" if error == "UnsupReq" else "fatal")
    assert f"{where} UESta: {error}+, set between access" in (bridge.path_errors_note or "")


def test_read_and_clean() -> None:
    story = happened(lambda machine: machine.clear(DOWNSTREAM, DEVCTL2, 0x20))
    bridge = story.bridge(DOWNSTREAM)
    assert (bridge.path_errors, bridge.path_errors_note) == (
        "clean",
        f"read and clean: no PCIe error was recorded on the path ({DOWNSTREAM}, {UPSTREAM}, {ROOT})",
    )
    assert [one.path_errors for one in story.kexec.bridges if one.bdf != DOWNSTREAM] == [None, None]


def test_errors_below_are_none_of_the_path() -> None:
    story = happened(
        lambda machine: (machine.clear(DOWNSTREAM, DEVCTL2, 0x20), machine.poke(DEVICE, UESTA, 0x20))
    )
    assert story.bridge(DOWNSTREAM).path_errors == "clean"
    assert errors_of(story.kexec) == {DEVICE: "UESta: SDES+"}


def test_firmware_first_is_not_captured() -> None:
    """Firmware handles errors: no kernel reads their status, whatever it is."""
    story = happened(
        lambda machine: (machine.clear(DOWNSTREAM, DEVCTL2, 0x20), machine.error(ROOT, "SDES")),
        outgoing=Kernel(native_aer=False),
        incoming=Kernel(policy="inherit", native_aer=False),
    )
    bridge = story.bridge(DOWNSTREAM)
    assert bridge.path_errors == "not-captured"
    assert (bridge.path_errors_note or "").startswith(f"not captured: {DOWNSTREAM} (")
    assert (bridge.path_errors_note or "").endswith(
        "; no kernel reads them where firmware handles errors; "
        "whether a PCIe error was recorded on the path is not known"
    )
    assert errors_of(story.kexec) == {}


@pytest.mark.parametrize("register", [UESTA, CESTA, "ECAP_AER+30.l"])
def test_one_register_that_was_not_read_is_named(register: str) -> None:
    story = happened(lambda machine: machine.clear(DOWNSTREAM, DEVCTL2, 0x20))
    result = without(story, ROOT, register, kexec="after")
    bridge = next(one for one in result.kexecs[0].bridges if one.bdf == DOWNSTREAM)
    assert (bridge.path_errors, bridge.path_errors_note) == (
        "not-captured",
        (
            f"not captured: {ROOT} ({register}); read and clean: {DOWNSTREAM}, {UPSTREAM}; "
            "whether a PCIe error was recorded on the path is not known"
        ),
    )


def test_a_read_after_the_clearing_write_shows_nothing() -> None:
    """The first read of the incoming kernel is not in the capture; lspci read 0 when all was cleared."""
    story = tell(
        switch(),
        preserve=BELOW_SWITCH,
        blackout=lambda machine: (machine.clear(DOWNSTREAM, DEVCTL2, 0x20), machine.poke(ROOT, UESTA, 0x20)),
        afterwards=lambda recording: recording.getpci(ROOT, UESTA),
    )
    read = next(seq for op, seq in accesses(story, ROOT, UESTA) if seq >= story.kexec.at_access)
    capture = story.recording.capture()
    capture.accesses = capture.accesses.filter(pl.col("seq") != read)
    result = analyze_capture(capture, Options(preserved=",".join(BELOW_SWITCH)))
    bridge = next(one for one in result.kexecs[0].bridges if one.bdf == DOWNSTREAM)
    assert bridge.path_errors == "not-captured"


def test_where_records_were_lost_nothing_is_clean() -> None:
    story = happened(lambda machine: machine.clear(DOWNSTREAM, DEVCTL2, 0x20))
    capture = story.recording.capture()
    capture.notes.dropped = 3
    result = analyze_capture(capture, Options(preserved=",".join(BELOW_SWITCH)))
    bridge = next(one for one in result.kexecs[0].bridges if one.bdf == DOWNSTREAM)
    assert (bridge.path_errors, bridge.path_errors_note) == (
        "not-captured",
        (
            f"read and clean: {DOWNSTREAM}, {UPSTREAM}, {ROOT}; accesses are missing from the capture; "
            "whether a PCIe error was recorded on the path is not known"
        ),
    )


@pytest.mark.parametrize(
    "name", ["lost-selective-in-blackout", "inherit-two-losses", "healed-with-earlydump"]
)
def test_a_glance_gives_what_the_registers_give(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def beside() -> list[str | None]:
        (capture,) = analyze([f"traces/{name}.bin"]).captures
        return [bridge.path_errors_note for kexec in capture.kexecs for bridge in kexec.bridges]

    glanced = beside()
    monkeypatch.setattr(error_status, "_is_quiet", lambda *_: False)
    assert beside() == glanced
    assert any(glanced)


def test_renumbered_bridges_are_looked_up_where_they_are_now() -> None:
    story = tell(
        switch(),
        before=lambda recording: recording.secondary_bus_reset(ROOT),
        blackout=lambda machine: machine.poke(DOWNSTREAM, UESTA, 0x1000),
        incoming=Kernel(),
    )
    assert story.bridge(DOWNSTREAM).verdict == "renumbered"
    assert errors_of(story.kexec) == {DOWNSTREAM: "UESta: TLP+"}


def test_a_root_port_that_stands_alone() -> None:
    story = tell(port(), preserve=BELOW_PORT, blackout=lambda machine: machine.clear(ROOT, DEVCTL2, 0x20))
    assert story.bridge(ROOT).path_errors_note == (
        f"read and clean: no PCIe error was recorded on the path ({ROOT})"
    )


# -- dumps --------------------------------------------------------------------------------------------------

AER = {
    (DUMPED, 0x100): "01 00 02 00 00 00 00 00 00 00 00 00 30 20 46 00",
    (DUMPED, 0x110): "00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00",
}
#: Secondary Status, Device Status, and the status registers of AER, with errors.
FAULTS = {
    "SecSta": ({(DUMPED, 0x10): "00 00 00 00 00 00 00 00 00 01 01 00 00 00 00 20"}, "SecSta: <MAbort+", None),
    "DevSta": (
        {(DUMPED, 0x40): "10 00 42 00 00 00 00 00 00 00 0c 00 00 00 00 00"},
        "DevSta: FatalErr+ UnsupReq+",
        None,
    ),
    "UESta": (
        {(DUMPED, 0x100): "01 00 02 00 20 00 00 00 00 00 00 00 30 20 46 00"},
        "UESta: SDES+",
        "warning",
    ),
}  # fmt: skip


def joined(folder: Path, before: dict, after: dict) -> KexecResult:
    for name, rows in (("before", before), ("after", after)):
        (folder / name).write_text(dump(size=4096, rows=AER | rows))
    (capture,) = analyze([str(folder / "before"), str(folder / "after")], Options(join=True)).captures
    return capture.kexecs[0]


@pytest.mark.parametrize("fault", FAULTS)
def test_errors_between_two_dumps(tmp_path: Path, fault: str) -> None:
    rows, expected, severity = FAULTS[fault]
    kexec = joined(tmp_path, {}, rows)
    assert errors_of(kexec) == {"0000:00:03.0": expected}
    assert {item.severity for item in kexec.findings if item.code == "ARI018"} == {severity or "note"}


@pytest.mark.parametrize("fault", FAULTS)
def test_errors_in_both_dumps_are_not_new(tmp_path: Path, fault: str) -> None:
    rows, _, _ = FAULTS[fault]
    assert errors_of(joined(tmp_path, rows, rows)) == {}


def test_a_clear_register_in_a_later_dump_is_never_clean(tmp_path: Path) -> None:
    """The incoming kernel may have cleared it at its scan."""
    off = {(DUMPED, 0x60): "00 00 00 00 20 00 00 00 00 00 00 00 00 00 00 00"}
    kexec = joined(tmp_path, {}, off)
    (lost,) = [bridge for bridge in kexec.bridges if bridge.verdict == "lost"]
    assert lost.path_errors == "not-captured"
