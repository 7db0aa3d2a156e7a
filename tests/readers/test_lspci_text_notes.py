"""What the reader of lspci's text says of what the text lacks: each note's kind, words and place.

Derived from the texts of lspci 3.9 in lspci_texts.py.
"""

from __future__ import annotations

import io

import lspci_texts as texts
import pytest

from analyzer.capture import LACKS_FUNCTIONS, Notes
from analyzer.errors import LimitExceededError
from analyzer.options import Options
from analyzer.readers.snapshot import lspci_text
from analyzer.readers.unwrap import ByteStream

Said = tuple[str, str, int | None]

ROOT = "; run lspci -D -vvv or lspci -D -xxxx as root"
UNKNOWN = f": no capability can be seen, so ARI Forwarding is unknown{ROOT}"
NO_REGISTERS = f" without registers (lspci -v): ARI Forwarding is unknown{ROOT}"
#: First lines alone, and functions without a capability.
PORT_LINE, DISK_LINE = "00:03.0 PCI bridge: X\n", "01:00.0 SATA controller: X\n"
PLAIN = "01:00.0 SATA controller: X\n\tFlags: fast devsel\n\n"
DENIED = "01:00.0 SATA controller: X\n\tFlags: fast devsel\n\tCapabilities: <access denied>\n\n"
TERSE = "01:00.0 SATA controller: X\n\tFlags: fast devsel\n\tCapabilities: [40] Express Endpoint, MSI 00\n\n"
#: A port with its details, and a function with extended capabilities.
PORT, FIRST = texts.text(texts.PORT), texts.text(texts.FIRST)
HEADER_LINES = """\
	Control: I/O+ Mem+
	Status: Cap+ 66MHz-
	Bus: primary=00, secondary=01
	BridgeCtl: Parity-
	Subsystem: X
	Flags: bus master
"""


def read(text: str) -> Notes:
    notes = Notes("lspci.txt")
    list(lspci_text.read(ByteStream(notes.path, io.BytesIO(text.encode())), notes, Options()))
    return notes


def said(notes: Notes) -> list[Said]:
    return [(one.kind, one.message, one.offset_bytes) for one in notes.problems]


def short(what: str) -> Said:
    return "short", what, None


def lacks(what: str, where: int | None = None) -> Said:
    return LACKS_FUNCTIONS, what, where


def lines_missing(functions: str, where: int) -> list[Said]:
    message = f"lines are missing in {functions}: what follows them is not used"
    return [("damaged", message, where), lacks("functions may be missing where lines are")]


def no_line(lines: str) -> Said:
    return lacks(f"{lines} left out: the line with the function is missing")


CUT = lacks("this text ends within a device (lspci ends each with an empty line): what follows is missing")
REPEATED = (
    "0000:01:00.0 is shown twice, and others may be; the last one counts; if these are two snapshots, make"
    " two files of them and name both with --join"
)
NO_EXTENDED = short(
    "no extended capability is shown: ARI, SR-IOV and ACS capabilities of devices cannot be seen" + ROOT
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (PORT + FIRST, []),
        ("Hello\n", []),
        # Less than -vv of root. One reason is said, the first of these.
        (DENIED, [short("1 function shows no capabilities (access denied)" + UNKNOWN)]),
        (DENIED + DENIED.replace("01:", "02:") + PORT_LINE + TERSE.replace("01:", "03:"),
         [short("2 functions show no capabilities (access denied)" + UNKNOWN)]),
        (PORT_LINE + DISK_LINE, [short("without details (no -v): 2 of 2 functions" + UNKNOWN)]),
        (PORT_LINE, [short("without details (no -v): 1 of 1 function" + UNKNOWN)]),
        (PORT_LINE + TERSE, [short("without details (no -v): 1 of 2 functions" + UNKNOWN)]),
        (TERSE, [short("1 function is shown" + NO_REGISTERS)]),
        (FIRST.replace("01:", "03:") + TERSE + TERSE.replace("01:", "02:"),
         [short("2 functions are shown" + NO_REGISTERS)]),
        (PORT + PLAIN, [NO_EXTENDED]),
        # A function that does not answer shows nothing, and need not.
        (texts.text(texts.SILENT), []),
        (texts.text(texts.SILENT) + PORT, [NO_EXTENDED]),
        # The end.
        (PORT + texts.FIRST, [CUT]),
        (PORT + FIRST + DISK_LINE.replace("01:", "02:"),
         [short("without details (no -v): 1 of 3 functions" + UNKNOWN)]),
        (PORT + texts.FIRST + "\tKernel driver in use: ixgbe\n", []),
        (PORT + texts.FIRST + "\tKernel modules: ixgbe\n", []),
        (PORT + texts.FIRST + "\tKernel driver in use: ix", []),
        (PORT + FIRST + "02:00.0 SATA contr",
         [("truncated", "the last line has no end and is left out", len(PORT + FIRST)), CUT]),
        # Functions that are shown twice.
        (PORT + FIRST + FIRST + PORT,
         [("repeated", REPEATED, len(PORT + FIRST))]),
        # Addresses that do not exist, and lines below them.
        (PORT + FIRST + "01:20.0 X\n\tFlags: fast devsel\n\n",
         [("damaged", "1 line names a device whose address does not exist", len(PORT + FIRST)),
          lacks("1 function of this text is left out", len(PORT + FIRST)), no_line("1 line is")]),
        ("01:1f.8 X\n\n01:20.0 X\n\n" + PORT + FIRST,
         [("damaged", "2 lines name devices whose address does not exist", 0),
          lacks("2 functions of this text are left out", 0)]),
        # Lines of functions whose first line is missing.
        (f"{HEADER_LINES}\tCapabilities: [40] X\n\t\tDevCtl2: ARIFwd+\n\n{PORT}{FIRST}",
         [no_line("8 lines are")]),
        ("Hello\n\tLatency: 0\n\tFlags: PMEClk- DSI-\n\tStatus: D0\n\t\tChanged: MRL-\n" + PORT + FIRST, []),
    ],
)  # fmt: skip
def test_notes(text: str, expected: list[Said]) -> None:
    notes = read(text)
    assert said(notes) == expected
    assert (notes.missing_dwords, notes.dropped) == (0, 0)
    assert notes.truncated is any(kind == "truncated" for kind, _, _ in expected)


def without_a_title(address: str) -> str:
    title = "\tCapabilities: [100 v1] Alternative Routing-ID Interpretation (ARI)\n"
    return FIRST.replace(title, "").replace("01:00.0", address)


@pytest.mark.parametrize(
    ("text", "expected", "missing_dwords"),
    [
        (PORT + FIRST + without_a_title("02:00.0"),
         lines_missing("1 function (0000:02:00.0)", len(PORT + FIRST)), 2),
        (FIRST + "".join(without_a_title(f"02:00.{number}") for number in range(5)),
         lines_missing("5 functions (0000:02:00.0, 0000:02:00.1, 0000:02:00.2, 0000:02:00.3)", len(FIRST)),
         10),
        # A second header: that of a function whose first line is missing.
        (FIRST + texts.PORT + "\tControl: I/O+\n\n",
         lines_missing("1 function (0000:00:03.0)", len(FIRST)), 1),
        # Capabilities in an order that no list has.
        (FIRST[:-1] + "\tCapabilities: [50] MSI: Enable-\n\n",
         lines_missing("1 function (0000:01:00.0)", 0), 1),
        # Other lines after the capabilities are no header's.
        (FIRST[:-1] + "\tFlags: PMEClk-\n\tStatus: D0\n\tKernel modules: x\n\n", [], 0),
    ],
)  # fmt: skip
def test_missing_lines(text: str, expected: list[Said], missing_dwords: int) -> None:
    notes = read(text)
    assert said(notes) == expected
    assert notes.missing_dwords == missing_dwords


def test_a_limit_of_functions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lspci_text, "MAX_FUNCTIONS", 2)
    assert said(read(PORT + FIRST)) == []
    assert [kind for kind, _, _ in said(read(PORT + FIRST + FIRST))] == ["repeated"]
    with pytest.raises(LimitExceededError) as caught:
        read(PORT + FIRST + PLAIN.replace("01:", "02:"))
    assert str(caught.value) == "lspci.txt: expected at most 2 functions in a snapshot, found more"
    assert caught.value.path == "lspci.txt"
