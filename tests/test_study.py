"""The study of docs/study.md: its command, its tables on a small sample, and what the document has to say."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
BENCH = ROOT / "bench"
DOCUMENT = (ROOT / "docs" / "study.md").read_text("utf-8")
KERNELS = ["stock", "v6, v7", "v9", "serialize", "heal"]


@pytest.fixture(autouse=True)
def _bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(BENCH))
    yield
    sys.modules.pop("study", None)


def sample(kind: str, *faults: str, machines: int = 1) -> tuple[Any, Any]:
    from study_faults import FAULTS
    from study_kexecs import run

    return run(machines, 1, [fault for fault in FAULTS if fault.name in faults], [kind])


def stranded(kexecs: Any, fault: str) -> list[int]:
    """Stranded functions under each kernel."""
    its = {row["kernel"]: row for row in kexecs.filter(fault=fault).iter_rows(named=True)}
    return [len(its[kernel]["stranded"]) for kernel in KERNELS]


ONE_BIT = "bit 5 cleared, and no recorded write"
PLATFORM = "platform reset, firmware enumerates as before"
NUMBERS = "bus numbers of the port cleared"


def test_a_sample_of_one_machine() -> None:
    kexecs, ports = sample("one ARI device below each root port", "nothing", ONE_BIT, PLATFORM, NUMBERS)
    assert kexecs.height == 4 * len(KERNELS)
    assert kexecs["agrees"].all()
    assert kexecs["wrong_what_ifs"].sum() == 0
    assert kexecs["handed_over"].unique().to_list() == [19]
    found = {fault: stranded(kexecs, fault) for fault in ("nothing", ONE_BIT, PLATFORM, NUMBERS)}
    assert found == {
        "nothing": [0, 0, 0, 0, 0],
        ONE_BIT: [0, 3, 3, 0, 0],
        PLATFORM: [0, 7, 7, 0, 0],
        NUMBERS: [0, 7, 7, 7, 7],
    }
    signs = kexecs.filter(kernel="v9").select("fault", "warned", "differs", "message").rows()
    assert signs == [
        ("nothing", False, False, False),
        (ONE_BIT, True, True, False),
        (PLATFORM, True, True, False),
        (NUMBERS, False, False, True),
    ]
    everything = ["ACS", "Bus Master", "DEVCTL", "DEVCTL2", "bridge window"]
    assert ports.rows() == [  # whose bit was lost: bus numbers too, what else, functions reset below
        (ONE_BIT, False, [], 0),
        (PLATFORM, False, everything, 7),
        (PLATFORM, False, everything, 12),
    ]


def test_the_same_seed_gives_the_same_rows() -> None:
    first, second = (sample("SR-IOV below a root port", ONE_BIT, NUMBERS) for _ in range(2))
    assert first[0].equals(second[0])
    assert first[1].equals(second[1])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["one switch", "switches below switches", "several bridges"])
def test_analysis_and_simulated_kernels_agree(kind: str) -> None:
    """Where bus numbers stay, or no neighbour has the next one."""
    faults = (ONE_BIT, "Device Control 2 written as 0", "hot reset of the switch", PLATFORM)
    kexecs, _ = sample(kind, *faults)
    assert kexecs.height == len(faults) * len(KERNELS)
    assert kexecs["agrees"].all()
    assert kexecs["wrong_what_ifs"].sum() == 0


@pytest.mark.parametrize(
    ("count", "of", "expected"),
    [(0, 36, "0.0 9.7"), (1, 10, "0.3 44.5"), (5, 10, "18.7 81.3"), (10, 10, "69.2 100.0")],
)
def test_the_exact_interval(count: int, of: int, expected: str) -> None:
    """Clopper and Pearson's, as tables of it have it."""
    from study_tables import interval

    low, high = interval(count, of)
    assert f"{low * 100:.1f} {high * 100:.1f}" == expected


def test_only_generated_parts_are_replaced(tmp_path: Path) -> None:
    import study

    page = tmp_path / "study.md"
    page.write_text(f"one\n\n{study.begin('run')}\n\nold\n\n{study.end('run')}\n\ntwo\n")
    study.write(page, {"run": "new"})
    assert page.read_text() == f"one\n\n{study.begin('run')}\n\nnew\n\n{study.end('run')}\n\ntwo\n"
    with pytest.raises(ValueError, match="expected the lines '<!-- begin of stranded"):
        study.write(page, {"stranded": "new"})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--machines", "0"], "expected at least 1 machine of each kind, found 0"),
        (["--write", "--seed", "2"], "those of the default options"),
    ],
)
def test_wrong_usage(arguments: list[str], message: str) -> None:
    command = [sys.executable, str(BENCH / "study.py"), *arguments]
    run = subprocess.run(command, check=False, capture_output=True, text=True)
    assert run.returncode == 2
    assert message in run.stderr


def generated(name: str) -> str:
    import study

    return DOCUMENT.partition(study.begin(name))[2].partition(study.end(name))[0]


def test_the_document_says_how_it_was_made() -> None:
    import study

    found = re.fullmatch(
        r"([\d,]+) simulated kexecs on (\d+) machines\. `(.+)`, seed (\d+), \d{4}-\d\d-\d\d\.",
        generated("run").strip(),
    )
    assert found is not None
    from study_machines import KINDS

    machines = study.MACHINES * len(KINDS)
    assert found.groups()[1:] == (str(machines), study.COMMAND, str(study.SEED))


def test_the_tables_of_the_document_are_those_of_the_program() -> None:
    from study_faults import FAULTS
    from study_machines import KINDS

    table = generated("stranded")
    assert [fault.name for fault in FAULTS if fault.name not in table] == []
    assert all(f" {kernel} |" in table for kernel in KERNELS)
    assert [kind for kind in KINDS if kind not in generated("machines")] == []
    for name in ("registers", "remedies", "agreement", "captures"):
        assert generated(name).count("\n|") > 3, name
    simulated = sum(
        int(row.split("|")[2]) * (row.split("|")[1].count(";") + 1)
        for row in table.splitlines()
        if row.startswith("| ") and not row.startswith("| fault")
    )
    total = int(generated("run").split()[0].replace(",", ""))
    assert simulated * len(KERNELS) == total
