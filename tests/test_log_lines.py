"""Console and log lines, stripped to kernel messages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.kernel_logs import log_lines

TEXT = "pci 0000:00:03.0: PCI bridge to [bus 01]"


@pytest.mark.parametrize(
    ("line", "time_us"),
    [
        (f"{TEXT}\r", None),
        (f"[    0.512345] {TEXT}", 512345),
        (f"[12345.000001] {TEXT}", 12_345_000_001),
        (f"[    0.512345][    T1] {TEXT}", 512345),
        (f"[    0.512345][   C12] {TEXT}", 512345),
        (f"<6>[    0.512345] {TEXT}", 512345),
        (f"<6>{TEXT}", None),
        (f"6,339,512345,-;{TEXT}", 512345),
        (f"6,339,512345,-,caller=T1;{TEXT}", 512345),
        (f"kern  :info  : [    0.512345] {TEXT}", 512345),
        (f"[Sun Nov 22 06:11:55 2026] {TEXT}", None),
        (f"[Nov22 06:11] {TEXT}", None),
        (f"[  +0.000012] {TEXT}", None),
        (f"Nov 22 06:11:55 host kernel: {TEXT}", None),
        (f"Nov  2 06:11:55 host kernel: [    0.512345] {TEXT}", 512345),
        (f"2026-11-22T06:11:55.123456+01:00 host kernel: {TEXT}", None),
        (f"2026-11-22T06:11:55,123456+00:00 {TEXT}", None),
        (f"[    0.512345] host kernel: {TEXT}", 512345),
        (f"vm login: [  812.000100] {TEXT}", 812_000_100),
        (f"\x1b[0m\x1b[1;32m[    0.512345]\x1b[0m {TEXT}\x1b[K", 512345),
        (f"\x00\x00[    0.512345] {TEXT}", 512345),
    ],
)
def test_one_message(line: str, time_us: int | None) -> None:
    (message,) = log_lines.messages(line.encode())
    assert (message.text, message.time_us) == (TEXT, time_us)
    assert (message.signature is None) == (time_us is None)


@pytest.mark.parametrize(("before", "time_us"), [(285, 512345), (287, None)])
def test_how_far_in_the_time_may_stand(before: int, time_us: int | None) -> None:
    """It ends within the first 300 characters."""
    (message,) = log_lines.messages(b"x" * before + f"[    0.512345] {TEXT}".encode())
    assert message.time_us == time_us


def test_blanks_at_the_end_are_no_part_of_a_message() -> None:
    assert [message.text for message in log_lines.messages(b"  one \r\x00\r two\t ")] == ["  one", " two"]


def test_firmware_text_before_the_kernel_is_a_message_of_its_own() -> None:
    line = b"Booting from ROM..\x1bc\x1b[?7l\x1b[2JLinux version 7.3.4 (root@vm) #2\r"
    assert [message.text for message in log_lines.messages(line)] == [
        "Booting from ROM..",
        "Linux version 7.3.4 (root@vm) #2",
    ]


def test_messages_at_time_0_have_no_signature() -> None:
    (message,) = log_lines.messages(b"[    0.000000] KHO: found kexec handover data.")
    assert (message.time_us, message.signature) == (0, None)


def test_signature_does_not_depend_on_prefixes() -> None:
    lines = [
        b"[    0.512345] x y",
        b"<6>[    0.512345] x y\r",
        b"Nov 22 06:11:55 host kernel: [    0.512345] x y",
    ]
    assert len({message.signature for line in lines for message in log_lines.messages(line)}) == 1


@pytest.mark.parametrize("line", [b"", b"\r", b"\r\r", b"\x1b[2J\x1b[H", b"\x00"])
def test_nothing(line: bytes) -> None:
    assert list(log_lines.messages(line)) == []


def test_invalid_utf_8_survives() -> None:
    (message,) = log_lines.messages(b"\xff\xfe pci 0000:00:03.0: x")
    assert message.text.endswith("pci 0000:00:03.0: x")


@given(st.binary(max_size=300))
def test_any_bytes(line: bytes) -> None:
    for message in log_lines.messages(line.replace(b"\n", b"")):
        assert message.text == message.text.rstrip()


@pytest.mark.parametrize(
    "filler", [b"\x1b[", b"[ 0", b"\x1b]x", b"1,", b"[    0.000000", b"Nov 22 06:11:55 a "]
)
def test_long_lines_take_linear_time(filler: bytes) -> None:
    # A quadratic expression would need minutes for this.
    assert list(log_lines.messages(filler * 1_000_000)) is not None
