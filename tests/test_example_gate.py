"""docs/examples/aritrace-gate: which answers of ``analyze atrisk`` let a Live Update begin."""

from __future__ import annotations

import pytest
from example_scripts import run_example, sysfs
from small_dumps import EIGHTH, END, FIRST, OFF, PORT, ZEROS, dump

NO_CHAIN = {(FIRST, 0x100): ZEROS}
SAFE = dump(PORT, FIRST, size=4096, rows=NO_CHAIN)
AT_RISK = dump(size=4096, rows=END)
ALREADY_LOST = dump(size=4096, rows={**END, **OFF})
#: Without root sysfs gives 64 bytes.
CANNOT_TELL = dump(size=64)


@pytest.fixture
def preserved(tmp_path):
    path = tmp_path / "preserved"
    path.write_text(f"0000:{FIRST}\n0000:{EIGHTH}\n")
    return path


WARNING = "<4>aritrace-gate: "
REFUSAL = "<3>aritrace-gate: Live Update refused: "
DEPEND = "AT RISK: preserved functions depend on ARI Forwarding, which is on; the Live Update goes on"
NOT_FOUND = "ALREADY LOST: the incoming kernel would not find preserved functions"
NOT_READ = "CANNOT TELL: what would exclude a loss was not read"


@pytest.mark.parametrize(
    ("machine", "strict", "status", "first", "said"),
    [
        (SAFE, "no", 0, "SAFE", ""),
        (SAFE, "yes", 0, "SAFE", ""),
        (AT_RISK, "no", 0, "AT RISK", f"{WARNING}{DEPEND}\n"),
        (AT_RISK, "yes", 1, "AT RISK", f"{REFUSAL}AT RISK, and ARITRACE_STRICT is yes\n"),
        (ALREADY_LOST, "no", 1, "ALREADY LOST", f"{REFUSAL}{NOT_FOUND}\n"),
        (CANNOT_TELL, "no", 3, "CANNOT TELL", f"{REFUSAL}{NOT_READ}\n"),
    ],
    ids=["safe", "safe, strict", "at risk", "at risk, strict", "already lost", "cannot tell"],
)
def test_each_answer(machine, strict, status, first, said, preserved, tmp_path):
    if machine is SAFE:
        preserved.write_text(f"0000:{FIRST}\n")
    devices = sysfs(machine, tmp_path / "devices")
    found, out, err = run_example("aritrace-gate", devices=devices, preserved=preserved, strict=strict)
    assert (found, out.partition(":")[0], err) == (status, first, said)


@pytest.mark.parametrize(
    ("change", "status", "said"),
    [
        ({"devices": "/nowhere"}, 3, "analyze atrisk gave no answer (exit status 3)"),
        ({"preserved": "/nowhere"}, 3, "analyze atrisk gave no answer (exit status 3)"),
        ({"preserved": ""}, 2, "ARITRACE_PRESERVED names no file"),
        ({"strict": "maybe"}, 2, "ARITRACE_STRICT is neither yes nor no: maybe"),
        ({"analyze": "/nowhere/analyze"}, 127, "analyze atrisk gave no answer (exit status 127)"),
        # Programs that are not this one: an exit status of 0 without a word that allows it is no permission.
        ({"analyze": "/bin/true"}, 2, "analyze atrisk gave no answer (exit status 2)"),
        ({"analyze": "/bin/echo"}, 2, "analyze atrisk gave no answer (exit status 2)"),
        ({"analyze": "/bin/false"}, 1, "analyze atrisk gave no answer (exit status 1)"),
    ],
    ids=[
        "no devices",
        "no list",
        "list not named",
        "strict",
        "no program",
        "silent",
        "other words",
        "failed",
    ],
)
def test_what_is_no_answer_is_a_refusal(change, status, said, preserved, tmp_path):
    settings = {"devices": sysfs(SAFE, tmp_path / "devices"), "preserved": preserved} | change
    found, _, err = run_example("aritrace-gate", **settings)
    assert found == status
    assert err.endswith(f"{REFUSAL}{said}\n")


def test_an_empty_list_is_a_refusal(preserved, tmp_path):
    """Whoever should have written it has not."""
    preserved.write_text("")
    devices = sysfs(SAFE, tmp_path / "devices")
    found, _, err = run_example("aritrace-gate", devices=devices, preserved=preserved)
    assert found == 3
    assert "expected a list of preserved functions, found nothing" in err
