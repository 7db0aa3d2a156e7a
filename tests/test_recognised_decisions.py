"""The rule that one run of pci_configure_ari followed, by what is between two vendor reads."""

from __future__ import annotations

import pytest

from analyzer.observed.decisions import recognise

#: DEVCAP2 of a PCIe bridge was read, says supported, and nothing followed; function 0 has the capability.
PLAIN = {
    "cut": False, "pcie": True, "is_pcie": True, "decides": True, "has_ari": True, "supported": True,
    "walked": False, "thinned": False, "read": False, "read_dead": False, "read_failed": False,
    "read_on": None, "wrote": False, "wrote_on": None, "wrote_first": False,
}  # fmt: skip
ON, OFF = {"read": True, "read_on": True}, {"read": True, "read_on": False}
PARTLY = {"read": True, "read_on": None}  # a byte that does not hold the bit
DEAD = {"read": True, "read_dead": True, "read_on": None}
FAILED = DEAD | {"read_failed": True}
SET, CLEARED = {"wrote": True, "wrote_on": True}, {"wrote": True, "wrote_on": False}


@pytest.mark.parametrize(
    ("facts", "rule", "enabled", "deciding"),
    [
        # the bridge has no PCI Express capability, as far as was seen
        ({"pcie": False, "is_pcie": False, "supported": None}, "none", False, "scan"),
        ({"pcie": False, "is_pcie": None, "supported": None}, "none", None, "scan"),
        ({"pcie": False, "is_pcie": None, "supported": None, "cut": True}, "none", None, "scan"),
        # DEVCAP2 was not read
        ({"supported": None}, "skipped", False, "scan"),
        ({"supported": None, "decides": False}, "none", False, "scan"),
        ({"supported": None, "cut": True}, "cut", None, "scan"),
        ({"supported": None, "cut": True, "decides": False}, "cut", None, "scan"),
        # it was
        ({"supported": False}, "unsupported", False, "devcap2"),
        ({"supported": False, "cut": True}, "unsupported", False, "devcap2"),
        ({"supported": False, **OFF, **SET}, "unsupported", False, "devcap2"),
        ({}, "untouched", False, "devcap2"),
        ({"cut": True}, "cut", None, "devcap2"),
        # the stock rule walks function 0, reads and writes
        ({**OFF, **SET, "walked": True}, "set", True, "write"),
        ({**ON, **SET, "walked": True}, "set", True, "write"),
        ({**ON, **CLEARED, "walked": True, "has_ari": False}, "clear", False, "write"),
        ({**DEAD, **SET, "walked": True}, "set", True, "write"),
        ({**ON, **CLEARED, "has_ari": False}, "clear", False, "write"),  # no extended space to walk
        ({**ON, **CLEARED, "has_ari": None}, "clear", False, "write"),
        ({**OFF, "wrote": True, "walked": True}, "clear", None, "write"),  # a byte without the bit
        ({**SET}, "set", True, "write"),  # the read is not in the capture
        ({**CLEARED}, "clear", False, "write"),
        ({**ON, **SET, "wrote_first": True}, "set", True, "write"),
        ({**OFF, **SET, "thinned": True}, "set", True, "write"),  # the walk may have been left out
        ({**OFF, **SET, "walked": True, "cut": True}, "set", True, "write"),
        # its write is not in the capture, or its read failed and none followed
        ({**ON, "walked": True}, "cut", None, "read"),
        ({**OFF, "walked": True}, "cut", None, "read"),
        ({**DEAD, "walked": True}, "cut", None, "read"),
        ({**FAILED, "walked": True}, "set", True, "read"),
        ({**FAILED, "walked": True, "has_ari": False}, "clear", False, "read"),
        ({**FAILED, "walked": True, "has_ari": None}, "clear", False, "read"),
        # the inherit rule reads at once
        ({**ON}, "inherit", True, "read"),
        ({**OFF}, "inherit", False, "read"),
        ({**OFF, "has_ari": False}, "inherit", False, "read"),
        ({**PARTLY}, "inherit", None, "read"),
        ({**DEAD}, "inherit", True, "read"),  # data to the kernel
        ({**FAILED}, "inherit", False, "read"),
        ({**ON, "cut": True}, "inherit", True, "read"),
        ({**ON, "thinned": True}, "inherit", True, "read"),
        # heal and serialize write right after that
        ({**OFF, **SET}, "restore", True, "write"),
        ({**OFF, **SET, "has_ari": False}, "restore", True, "write"),
        ({**ON, **CLEARED}, "restore", False, "write"),
        ({**ON, "wrote": True}, "restore", None, "write"),
    ],
)
def test_the_rule_by_what_was_seen(
    facts: dict[str, object], rule: str, enabled: bool | None, deciding: str
) -> None:
    assert recognise(*(PLAIN | facts).values()) == (rule, enabled, deciding)
