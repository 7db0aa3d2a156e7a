"""Values of options that are written as text: for the command line, and for the rows of a manifest."""

from __future__ import annotations

from analyzer.errors import UsageError


def field_map(text: str | None) -> dict[str, str]:
    """Return the names that ``--map`` gives, by field.

    Raises:
        UsageError: not of the form FIELD=NAME,..., or a FIELD that does not exist.
    """
    if text is None:
        return {}
    from analyzer.readers.config_events import FieldNames

    pairs = [pair.partition("=") for pair in text.split(",") if pair.strip()]
    for field, equals, name in pairs:
        if not (equals and field.strip() and name.strip()):
            raise UsageError(
                f"--map: expected FIELD=NAME, found {field + equals + name!r}",
                advice="as in devfn=df,offset=r",
            )
    names = {field.strip(): name.strip() for field, _, name in pairs}
    FieldNames.of(names)
    return names


def ecam_base(text: str | None) -> int | None:
    """Return the address that ``--ecam-base`` gives.

    Raises:
        UsageError: not a number, or not an address that an ECAM window can have.
    """
    if text is None:
        return None
    try:
        base = int(text, 0)
    except ValueError:
        base = -1
    # A bus has 1 MiB, and addresses have at most 52 bits (Intel SDM, AMD APM).
    if not 0 <= base < 1 << 52 or base % (1 << 20):
        raise UsageError(
            f"--ecam-base: expected a multiple of 0x100000, found {text!r}",
            advice="as in 0xb0000000; the guest's kernel log has it: MCFG, ECAM",
        )
    return base
