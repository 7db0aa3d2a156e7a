"""Text of lspci answers as the dump of the same machine does, or says what it does not show; never otherwise.

The machine of the samples is real. ``system``: the text that the real program prints of dumps of the corpus.
"""

from __future__ import annotations

import itertools
import re
import shutil
import subprocess
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import deletions
import lspci_texts as texts
import polars as pl
import pytest
import zstandard

from analyzer import analysis
from analyzer.cli.application import run
from analyzer.converting.native import write_capture
from analyzer.errors import UnsupportedFormatError
from analyzer.observed.register_state import is_on
from analyzer.options import Options
from analyzer.questions.atrisk import AtRisk, atrisk
from analyzer.questions.snapshot import take, take_capture
from analyzer.readers import open_capture
from analyzer.report.lspci_text import lspci_text
from schemas.inherited_state import ARI_FORWARDING
from schemas.pcie_capability import TYPE_PCIE_TO_PCI

if TYPE_CHECKING:
    from pathlib import Path

    from analyzer.observed.registers.functions import Function
    from analyzer.results import CaptureResult

PROGRAM = shutil.which("lspci")
CORPUS = sorted(deletions.TRACES.glob("*.bin"))
#: lspci does not show them of a bridge from PCI Express to PCI.
_ARI = ("supported", "enabled")
_ROW = re.compile(rb"^[0-9a-f]{2,3}: [0-9a-f ]+\n", re.MULTILINE)


def put(path: Path, text: str | bytes) -> str:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return str(path)


def functions(path: str) -> dict[int, Function]:
    (topology,) = analysis.study(open_capture(path)).topologies
    return topology.functions


def facts(function: Function) -> dict[str, object]:
    """What the rules ask of a function."""
    numbers = function.bus_numbers
    return {
        "layout": None if function.header_type is None else function.header_type & 0x7F,
        "multifunction": function.multifunction,
        "is_pcie": function.is_pcie,
        "pcie_type": function.pcie_type,
        "supported": function.ari_supported if function.is_bridge else None,
        "enabled": is_on(function, ARI_FORWARDING) if function.is_bridge else None,
        "has_ari": function.has_ari,
        "next": function.next_function,
        "numbers": None if numbers is None else (numbers.primary, numbers.secondary, numbers.subordinate),
        "capabilities": function.capabilities.standard
        | {-one: at for one, at in function.capabilities.extended.items()},
    }


def contradictions(dump: str, text: str) -> tuple[list[tuple[int, str]], set[str]]:
    """Facts of the text that are others than the dump's, and names of those that it does not show."""
    return compared(functions(dump), functions(text))


def compared(
    whole: dict[int, Function], shown: dict[int, Function]
) -> tuple[list[tuple[int, str]], set[str]]:
    """The same of functions that were read from both."""
    assert shown.keys() == whole.keys()
    pairs = []
    for key, function in whole.items():
        said = facts(shown[key])
        pairs += [(key, name, fact, said[name]) for name, fact in facts(function).items()]
    return (
        [(key, name) for key, name, fact, said in pairs if said is not None and said != fact],
        {
            name
            for key, name, fact, said in pairs
            if said is None
            and fact is not None
            and not (name in _ARI and whole[key].pcie_type == TYPE_PCIE_TO_PCI)
        },
    )


def answer(of: AtRisk) -> list[tuple[object, ...]]:
    """The parts of an answer that say what is at stake."""
    return [
        (
            one.bdf,
            one.port_type,
            one.secondary,
            one.ari,
            one.lost_with_bit,
            one.lost_with_reset,
            one.not_seen,
            one.silent,
        )
        for one in of.ports
    ]


@pytest.fixture(scope="module")
def sample(tmp_path_factory) -> tuple[str, str]:
    """The dump of a real machine, and the text that the same run of lspci printed between its rows."""
    folder = tmp_path_factory.mktemp("sample")
    packed = (deletions.TRACES / "formats" / "lspci-xxxx-vvv.txt.zst").read_bytes()
    dump = zstandard.ZstdDecompressor().decompressobj().decompress(packed)
    return put(folder / "dump", dump), put(folder / "text", _ROW.sub(b"", dump))


def test_the_text_of_a_real_machine(sample):
    dump, text = sample
    wrong, unknown = contradictions(dump, text)
    assert not wrong
    assert unknown == {"multifunction"}
    assert answer(atrisk(text)) == answer(atrisk(dump))


def test_joined_with_itself_and_with_the_dump(sample):
    """The chain of 03:00.0 names a function 1 that is not there: bit 7 of 0e would say that it is no loss."""
    dump, text = sample
    for pair in ((text, text), (dump, text), (text, dump)):
        (capture,) = analysis.analyze(list(pair), Options(join=True)).captures
        (kexec,) = capture.kexecs
        lost = [finding for finding in kexec.findings if finding.weight == "loss"]
        assert not lost
        assert {bridge.verdict for bridge in kexec.bridges} <= {"kept", "off", "not-applicable"}


def test_before_and_after(tmp_path):
    on, off = put(tmp_path / "on", texts.CHAIN), put(tmp_path / "off", texts.text(texts.OFF, texts.FIRST))
    (capture,) = analysis.analyze([on, off], Options(join=True)).captures
    (kexec,) = capture.kexecs
    (bridge,) = kexec.bridges
    assert (bridge.verdict, bridge.stranded) == ("lost", ["0000:01:01.0"])
    shown = [(one.register, one.value) for one in bridge.evidence]
    assert ("CAP_EXP+28.l", None) in shown  # only some of its bits are shown: no value


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        (texts.CHAIN, "at-risk"),
        (texts.text(texts.PORT, texts.FIRST), "at-risk"),  # the chain names function 8
        (texts.text(texts.OFF, texts.FIRST, texts.EIGHTH), "already-lost"),
        (texts.VIRTUAL, "at-risk"),
        (texts.text(texts.PORT, texts.FIRST.replace("Function: 8", "Function: 0")), "safe"),
        (texts.text(texts.PORT, texts.SILENT), "cannot-tell"),
    ],
)
def test_what_is_at_stake(text, verdict, tmp_path):
    assert atrisk(put(tmp_path / "text", text)).verdict == verdict


def test_functions_1_to_7_need_the_bit_that_no_text_shows(tmp_path):
    """Are they found without the chain? Only if 01:00.0 is multi-function."""
    first = texts.FIRST.replace("Function: 8", "Function: 1")
    second = texts.EIGHTH.replace("01:01.0", "01:00.1")
    found = atrisk(put(tmp_path / "text", texts.text(texts.PORT, first, second)))
    assert (found.verdict, [(one.bdf, one.missing) for one in found.unknown]) == (
        "cannot-tell",
        [("0000:01:00.0", "0e")],
    )


# --- formats that hold whole values only ---


@pytest.mark.parametrize("options", [[], ["--minimal"], ["--redact"]])
def test_a_native_file_is_refused(options, tmp_path, capsys):
    text = put(tmp_path / "text", texts.CHAIN)
    assert run(["convert", text, "-o", str(tmp_path / "x.bin"), *options]) != 0
    said = capsys.readouterr().err
    assert "of which only single bits are known" in said
    assert not (tmp_path / "x.bin").exists()
    with pytest.raises(UnsupportedFormatError):
        write_capture(open_capture(text), tmp_path / "x.bin")


def test_parquet_holds_the_mask(tmp_path):
    text = put(tmp_path / "text", texts.CHAIN)
    assert run(["convert", text, "-o", str(tmp_path / "x.parquet")]) == 0
    table = pl.read_parquet(tmp_path / "x.parquet")
    assert table["known"].to_list() == open_capture(text).accesses["known"].to_list()


def test_a_snapshot_of_the_text_shows_whole_bytes_alone(sample, tmp_path):
    dump, text = sample
    whole = {space.function: space for space in take(dump).functions}
    for space in take(text).functions:
        assert (space.data[space.known] == whole[space.function].data[space.known]).all()
        assert space.known.any()
        assert not space.known[0x06]  # no word for all of its bits
    again = put(tmp_path / "again", "".join(lspci_text(take(text))))
    wrong, _ = contradictions(dump, again)
    assert not [one for one in wrong if one[1] != "capabilities"]


# --- the real program ---


class Dump(NamedTuple):
    """A dump without a byte that is not known, and what is read from it and answered."""

    path: str
    functions: dict[int, Function]
    answer: AtRisk


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """For dumps and texts, each written once."""
    return tmp_path_factory.mktemp("printed")


@cache
def dumped(path: Path, boot: int, folder: Path) -> Dump:
    """The dump that the snapshot of one boot of a capture is."""
    snapshot = take_capture(open_capture(str(path)), boot)
    lines = "".join(lspci_text(snapshot)).splitlines(keepends=True)
    dump = put(folder / f"{path.stem}.{boot}.dump", "".join(one for one in lines if one[0] not in "\t#"))
    return Dump(dump, functions(dump), atrisk(dump))


@cache
def printed(path: Path, boot: int, folder: Path, *options: str) -> str:
    """What lspci prints of it."""
    dump = dumped(path, boot, folder).path
    shown = subprocess.run(
        [PROGRAM, "-F", dump, *options], capture_output=True, check=True, text=True, timeout=60
    )
    return put(folder / f"{path.stem}.{boot}{''.join(options)}.text", shown.stdout)


@pytest.mark.system
@pytest.mark.skipif(PROGRAM is None, reason="no lspci")
@pytest.mark.parametrize("options", [("-vvv",), ("-vv", "-D"), ("-vvv", "-n"), ("-vv", "-nn")], ids="".join)
@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_the_real_program(path, options, folder, record_property):
    """``atrisk`` answers as for the dump; only bit 7 of 0e may be missing for it."""
    for boot in deletions.kernels(path):
        dump, text = dumped(path, boot, folder), printed(path, boot, folder, *options)
        wrong, unknown = compared(dump.functions, functions(text))
        assert not wrong
        assert unknown <= {"multifunction"}
        whole, found = dump.answer, atrisk(text)
        assert answer(found) == answer(whole)
        if found.verdict != whole.verdict:
            assert (found.verdict, {one.missing for one in found.unknown}) == ("cannot-tell", {"0e"})
            record_property("undetermined", f"{path.stem} boot {boot}")


def outcome(result: CaptureResult) -> list[object]:
    return [
        (
            [(one.bdf, one.verdict, one.cause, one.stranded) for one in kexec.bridges],
            [(one.bdf, one.verdict, one.reason) for one in kexec.devices],
        )
        for kexec in result.kexecs
    ]


@pytest.mark.system
@pytest.mark.skipif(PROGRAM is None, reason="no lspci")
@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_the_real_program_before_and_after(path, folder, record_property):
    """``--join``: every bridge and device as with the dumps; undetermined only for lack of bit 7 of 0e."""
    boots = deletions.kernels(path)
    for before, after in [*itertools.pairwise(boots), (boots[0], boots[0])]:
        dumps = [dumped(path, boot, folder).path for boot in (before, after)]
        shown = [printed(path, boot, folder, "-vvv") for boot in (before, after)]
        whole, found = (analysis.analyze(pair, Options(join=True)).captures[0] for pair in (dumps, shown))
        assert outcome(found) == outcome(whole)
        if found.verdict != whole.verdict:
            assert (found.verdict, whole.verdict) == ("undetermined", "clean")
            (kexec,) = found.kexecs
            assert all("0e of" in finding.text for finding in kexec.findings if finding.weight)
            record_property("undetermined", f"{path.stem} boots {before}, {after}")
