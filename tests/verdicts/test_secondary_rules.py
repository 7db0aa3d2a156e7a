"""Findings beside the question, one register at a time: what was held last, what is read first."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from hand_made import ACS, SRIOV, Access, Capabilities, Part, PlainEvidence, read, shown, write

from analyzer.verdicts import secondary

if TYPE_CHECKING:
    from analyzer.results import Secondary

ACS_CTRL, COMMAND, CTRL = ACS + 0x06, 0x04, SRIOV + 0x08
NUM, OFFSET, STRIDE = SRIOV + 0x10, SRIOV + 0x14, SRIOV + 0x16
KEY = 0x0200


def found(
    before: list[Access],
    after: list[Access],
    *,
    preserved: tuple[int, ...] = (KEY,),
    orderly: bool | None = True,
    **more: object,
) -> list[Secondary]:
    outgoing = SimpleNamespace(functions={KEY: Part(tuple(before), **more)})
    incoming = SimpleNamespace(
        functions={KEY: Part(tuple(after), **more)}, boot=SimpleNamespace(orderly=orderly)
    )
    return secondary.findings(
        outgoing, incoming, frozenset(preserved), PlainEvidence(), settled=frozenset(), with_sriov={KEY}
    )


def said(*findings: Secondary) -> list[tuple[str, str, str]]:
    return [(item.bdf, item.kind, item.note) for item in findings]


ISOLATION = "SrcValid ReqRedir CmpltRedir UpstreamFwd"  # 0x1d


@pytest.mark.parametrize(
    ("before", "after", "values", "lost", "rows"),
    [
        ([write(ACS_CTRL, 2, 0x1D)], [read(ACS_CTRL, 2, 0)], ("001d", "0000"), ISOLATION, (100, 100)),
        (
            [write(ACS_CTRL, 2, 0x1D), write(ACS_CTRL, 2, 0x5D)],
            [read(ACS_CTRL, 2, 0)],
            ("005d", "0000"),
            f"{ISOLATION} DirectTrans",
            (110, 100),
        ),
        (
            [read(ACS_CTRL, 2, 0x01)],
            [read(ACS_CTRL, 2, 0xFFFF), read(ACS_CTRL, 2, 0)],
            ("0001", "0000"),
            "SrcValid",
            (100, 110),
        ),
        # bits 6:0
        ([read(ACS_CTRL, 2, 0x40)], [read(ACS_CTRL, 2, 0x80)], ("0040", "0080"), "DirectTrans", (100, 100)),
        (
            [read(ACS_CTRL, 2, 0x1D), read(ACS_CTRL, 2, 0xFFFF)],
            [read(ACS_CTRL, 2, 0)],
            ("001d", "0000"),
            ISOLATION,
            (100, 100),
        ),
        (
            [read(ACS_CTRL, 2, 0x1D), write(ACS_CTRL + 1, 1, 0)],
            [read(ACS_CTRL, 2, 0)],
            ("001d", "0000"),
            ISOLATION,
            (100, 100),
        ),
        # some of it is lost
        (
            [read(ACS_CTRL, 2, 0x1D)],
            [read(ACS_CTRL, 2, 0x01)],
            ("001d", "0001"),
            "ReqRedir CmpltRedir UpstreamFwd",
            (100, 100),
        ),
        # one bit is lost, another one is gained
        ([read(ACS_CTRL, 2, 0x22)], [read(ACS_CTRL, 2, 0x03)], ("0022", "0003"), "EgressCtrl", (100, 100)),
        ([write(ACS_CTRL, 2, 0x7F)], [read(ACS_CTRL, 2, 0x7D)], ("007f", "007d"), "TransBlk", (100, 100)),
        ([read(ACS_CTRL, 2, 0x1D)], [read(ACS_CTRL, 2, 0x5F)], None, "", None),
        ([read(ACS_CTRL, 2, 0x80)], [read(ACS_CTRL, 2, 0)], None, "", None),
        ([read(ACS_CTRL, 2, 0x1D), write(ACS_CTRL, 2, 0)], [read(ACS_CTRL, 2, 0)], None, "", None),
        ([read(ACS_CTRL, 2, 0x1D)], [write(ACS_CTRL, 2, 0), read(ACS_CTRL, 2, 0)], None, "", None),
        ([read(ACS_CTRL, 2, 0x1D)], [], None, "", None),
        ([], [read(ACS_CTRL, 2, 0)], None, "", None),
    ],
)
def test_acs_lost(
    before: list[Access],
    after: list[Access],
    values: tuple[str, str] | None,
    lost: str,
    rows: tuple[int, int],
) -> None:
    findings = found(before, after)
    if values is None:
        assert findings == []
        return
    old, new = values
    words = lost.split()
    note = f"ACS Control was 0x{old} before the kexec and reads 0x{new} after it: lost {', '.join(words)}"
    assert said(*findings) == [("0000:02:00.0", "acs-lost", note)]
    place = f"ECAP_ACS behind {ACS:#x}, 2 bytes"
    assert shown(findings[0].evidence) == [
        (rows[0], place, " ".join(f"{word}+" for word in words)),
        (rows[1], place, " ".join(f"{word}-" for word in words)),
    ]


@pytest.mark.parametrize(
    ("after", "said_of_it"),
    [
        ([read(ACS_CTRL, 2, 0x1C), write(ACS_CTRL, 2, 0x1D)], "; the incoming kernel set it again"),
        ([read(ACS_CTRL, 2, 0x1C), write(ACS_CTRL, 2, 0x1C)], ""),
        ([read(ACS_CTRL, 2, 0x18), write(ACS_CTRL, 2, 0x1D)], "; the incoming kernel set them again"),
        ([read(ACS_CTRL, 2, 0x18), write(ACS_CTRL, 2, 0x1C)], ""),  # not all of them
    ],
)
def test_acs_that_the_incoming_kernel_set_again(after: list[Access], said_of_it: str) -> None:
    (finding,) = found([read(ACS_CTRL, 2, 0x1D)], after)
    _, _, rest = finding.note.partition(": lost ")
    assert rest[rest.index(";") :] == said_of_it if said_of_it else ";" not in rest


@pytest.mark.parametrize(
    ("before", "after", "rows"),
    [
        ([write(COMMAND, 2, 0x0107)], [read(COMMAND, 2, 0x0103)], (100, 100)),
        ([write(COMMAND, 2, 0x0103), read(COMMAND, 2, 0x0107)], [read(COMMAND, 2, 0)], (110, 100)),
        ([write(COMMAND, 2, 0x0107), read(COMMAND, 1, 0x07)], [read(COMMAND, 1, 0x03)], (110, 100)),
        ([write(COMMAND, 2, 0x0107), write(COMMAND, 2, 0x0103)], [read(COMMAND, 2, 0x0103)], None),
        ([write(COMMAND, 2, 0x0107)], [read(COMMAND, 2, 0x0107)], None),
        ([write(COMMAND, 2, 0x0107)], [write(COMMAND, 2, 0x0103), read(COMMAND, 2, 0x0103)], None),
        ([], [read(COMMAND, 2, 0)], None),
        ([write(COMMAND, 2, 0x0107)], [], None),
    ],
)
def test_bus_master_lost(before: list[Access], after: list[Access], rows: tuple[int, int] | None) -> None:
    findings = found(before, after)
    note = "Bus Master was on when the outgoing kernel ended and is off after the kexec"
    assert said(*findings) == ([] if rows is None else [("0000:02:00.0", "bus-master-lost", note)])
    if rows is not None:
        place = "COMMAND, 2 bytes"
        assert shown(findings[0].evidence) == [
            (rows[0], place, "Bus Master on"),
            (rows[1], place, "Bus Master off"),
        ]


@pytest.mark.parametrize(
    "changes", [{"is_bridge": False}, {"orderly": None}, {"orderly": False}, {"preserved": ()}]
)
def test_where_bus_master_is_not_judged(changes: dict[str, object]) -> None:
    assert found([write(COMMAND, 2, 0x0107)], [read(COMMAND, 2, 0x0103)], **changes) == []


def test_acs_is_judged_without_the_shutdown_and_of_preserved_functions_only() -> None:
    before, after = [read(ACS_CTRL, 2, 0x1D)], [read(ACS_CTRL, 2, 0)]
    assert [item.kind for item in found(before, after, orderly=None)] == ["acs-lost"]
    assert found(before, after, preserved=()) == []


LAYOUT = "ARI Capable Hierarchy was 1 and is 0: virtual functions get other routing IDs, or fewer fit"
VFS = [read(NUM, 2, 4), read(OFFSET, 2, 8), read(STRIDE, 2, 2)]


@pytest.mark.parametrize(
    ("before", "after", "note"),
    [
        ([write(CTRL, 2, 0x10)], [write(CTRL, 2, 0x00)], LAYOUT),
        ([write(CTRL, 2, 0x10)], [read(CTRL, 2, 0x10), write(CTRL, 2, 0x00)], LAYOUT),
        ([write(CTRL, 2, 0x00), write(CTRL, 2, 0x10)], [write(CTRL, 2, 0x08)], LAYOUT),
        ([write(CTRL, 2, 0x11)], [write(CTRL, 2, 0x00)], f"{LAYOUT}; VFs were enabled"),
        (
            [*VFS, write(CTRL, 2, 0x19)],
            [write(CTRL, 2, 0x00)],
            f"{LAYOUT}; VFs were enabled at 0000:02:01.0 to 0000:02:01.6",
        ),
        (
            [read(NUM, 4, 0x00070000), *VFS[1:], write(CTRL, 2, 0x11)],  # with the register behind it
            [write(CTRL, 2, 0x00)],
            f"{LAYOUT}; VFs were enabled",
        ),
        (
            [read(NUM, 4, 0x00070004), *VFS[1:], write(CTRL, 2, 0x11)],  # with the register behind it
            [write(CTRL, 2, 0x00)],
            f"{LAYOUT}; VFs were enabled at 0000:02:01.0 to 0000:02:01.6",
        ),
        ([*VFS, write(CTRL, 2, 0x10)], [write(CTRL, 2, 0x00)], LAYOUT),
        (
            [*VFS, write(NUM, 2, 1), write(CTRL, 2, 0x11)],
            [write(CTRL, 2, 0x00)],
            f"{LAYOUT}; VFs were enabled at 0000:02:01.0 to 0000:02:01.0",
        ),
        ([*VFS, write(NUM, 2, 0), write(CTRL, 2, 0x11)], [write(CTRL, 2, 0)], f"{LAYOUT}; VFs were enabled"),
        ([*VFS[:2], write(CTRL, 2, 0x11)], [write(CTRL, 2, 0x00)], f"{LAYOUT}; VFs were enabled"),
        ([*VFS[1:], write(CTRL, 2, 0x11)], [write(CTRL, 2, 0x00)], f"{LAYOUT}; VFs were enabled"),
        ([VFS[0], VFS[2], write(CTRL, 2, 0x11)], [write(CTRL, 2, 0x00)], f"{LAYOUT}; VFs were enabled"),
        ([write(CTRL, 2, 0x10)], [write(CTRL, 2, 0x10)], None),
        ([write(CTRL, 2, 0x10)], [write(CTRL, 2, 0x00), write(CTRL, 2, 0x10)], None),
        ([write(CTRL, 2, 0x0F)], [write(CTRL, 2, 0x00)], None),
        ([write(CTRL, 2, 0x10)], [], None),
        ([], [write(CTRL, 2, 0x00)], None),
    ],
)
@pytest.mark.parametrize("preserved", [(), (KEY,)])
def test_sriov_hierarchy_lost(
    before: list[Access], after: list[Access], note: str | None, preserved: tuple[int, ...]
) -> None:
    findings = found(before, after, preserved=preserved)
    assert said(*findings) == ([] if note is None else [("0000:02:00.0", "sriov-hierarchy-lost", note)])
    if note is not None:
        place = f"ECAP_SRIOV behind {SRIOV:#x}, 2 bytes"
        assert [item[1:] for item in shown(findings[0].evidence)] == [
            (place, "ARIHierarchy+"),
            (place, "ARIHierarchy-"),
        ]
        assert findings[0].evidence[0].access == 90 + 10 * len(before)
        assert findings[0].evidence[1].access == 90 + 10 * len(after)


@pytest.mark.parametrize("side", ["outgoing", "incoming", "both"])
def test_capabilities_that_one_boot_does_not_show(side: str) -> None:
    none = Capabilities({}, {})
    before = (read(ACS_CTRL, 2, 0x1D), write(CTRL, 2, 0x10))
    after = (read(ACS_CTRL, 2, 0), write(CTRL, 2, 0))
    outgoing = Part(before, **({} if side == "incoming" else {"capabilities": none}))
    incoming = Part(after, **({} if side == "outgoing" else {"capabilities": none}))
    messages = secondary.findings(
        SimpleNamespace(functions={KEY: outgoing}),
        SimpleNamespace(functions={KEY: incoming}, boot=SimpleNamespace(orderly=True)),
        frozenset((KEY,)),
        PlainEvidence(),
        settled=frozenset(),
        with_sriov={KEY},
    )
    assert messages == []


def test_functions_are_told_in_order_and_new_ones_not_at_all() -> None:
    """The second of three is new."""
    keys = (0x0300, 0x0200, 0x0100)
    before = {key: Part((read(ACS_CTRL, 2, 0x1D),), function=key) for key in keys if key != 0x0200}
    after = {key: Part((read(ACS_CTRL, 2, 0),), function=key) for key in keys}
    messages = secondary.findings(
        SimpleNamespace(functions=before),
        SimpleNamespace(functions=after, boot=SimpleNamespace(orderly=True)),
        frozenset(keys),
        PlainEvidence(),
        settled=frozenset(),
        with_sriov=keys,
    )
    assert [item.bdf for item in messages] == ["0000:01:00.0", "0000:03:00.0"]


@pytest.mark.parametrize(
    ("preserved", "settled", "with_sriov", "expected"),
    [
        ((KEY,), (), (), ["acs-lost", "sriov-hierarchy-lost"]),
        ((KEY,), (KEY,), (), []),
        ((), (), (), []),
        ((), (), (KEY,), ["sriov-hierarchy-lost"]),
        ((KEY,), (KEY,), (KEY,), ["sriov-hierarchy-lost"]),
        ((KEY, 0x0300), (), (KEY, 0x0400), ["acs-lost", "sriov-hierarchy-lost"]),  # some are new, or gone
    ],
)
def test_functions_that_are_asked(
    preserved: tuple[int, ...], settled: tuple[int, ...], with_sriov: tuple[int, ...], expected: list[str]
) -> None:
    before = (read(ACS_CTRL, 2, 0x1D), write(CTRL, 2, 0x10))
    after = (read(ACS_CTRL, 2, 0), write(CTRL, 2, 0))
    messages = secondary.findings(
        SimpleNamespace(functions={KEY: Part(before), 0x0300: Part(before)}),
        SimpleNamespace(
            functions={KEY: Part(after), 0x0400: Part(after)}, boot=SimpleNamespace(orderly=True)
        ),
        frozenset(preserved),
        PlainEvidence(),
        frozenset(settled),
        with_sriov,
    )
    assert [(item.bdf, item.kind) for item in messages] == [("0000:02:00.0", kind) for kind in expected]


def test_all_of_one_function() -> None:
    before = [read(ACS_CTRL, 2, 0x1D), write(COMMAND, 2, 0x0107), write(CTRL, 2, 0x10)]
    after = [read(ACS_CTRL, 2, 0), read(COMMAND, 2, 0), write(CTRL, 2, 0)]
    assert [item.kind for item in found(before, after)] == [
        "acs-lost",
        "bus-master-lost",
        "sriov-hierarchy-lost",
    ]
