"""The parameters of the commands become Options in one place, each under its own name."""

from __future__ import annotations

import pytest

from analyzer.cli.option_values import reading_options
from analyzer.errors import UsageError
from analyzer.options import Options

PARAMETERS = {
    "policy": "stock",
    "series": "v9",
    "cmdline": "pci=noari",
    "kexec_at": ["access:5", "time:7"],
    "join": True,
    "seed": "seed.txt",
    "preserved": "03:00.0",
    "flb": "a.flb",
    "flb_name": "pci",
    "dmesg": "a.dmesg",
    "assume_preserved": True,
    "input_format": "qemu-log",
    "config_function": "02:00.0",
    "field_names": "devfn=df",
    "ecam": "0xb0000000",
    "guest": 4242,
    "linktype_raw_tlp": 147,
}


def test_every_parameter_is_a_field():
    assert reading_options(PARAMETERS) == Options(
        policy="stock",
        series="v9",
        cmdline="pci=noari",
        kexec_at=("access:5", "time:7"),
        join=True,
        seed="seed.txt",
        preserved="03:00.0",
        flb="a.flb",
        flb_name="pci",
        dmesg="a.dmesg",
        assume_preserved=True,
        input_format="qemu-log",
        bdf=0x0200,
        field_map={"devfn": "df"},
        ecam_base=0xB000_0000,
        guest=4242,
        linktype_raw_tlp=147,
    )


def test_what_a_command_has_besides_is_no_option_of_reading():
    """``bdf`` of ``explain`` is its question, not whose config file the capture is."""
    assert (
        reading_options({"captures": ["a"], "bdf": "02:00.0", "output": None, "kexec_at": None}) == Options()
    )


def test_what_only_one_command_has_is_added():
    assert reading_options({}, strict=True, selected=frozenset({"ARI001"})) == Options(
        strict=True, selected=frozenset({"ARI001"})
    )


def test_a_value_of_the_wrong_form_is_wrong_usage():
    with pytest.raises(UsageError, match="--bdf: expected"):
        reading_options({"config_function": "bridge"})
