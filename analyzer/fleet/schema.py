"""Columns of the result tables; docs/fleet.md explains each.

Names are the keys of the JSON output. Every table begins with the same key columns, and its files lie in
hive folders ``capture_verdict=…``, so that a question about losses reads no clean capture's rows.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from analyzer.results import POLICIES

#: Version of the tables: new columns may be added under the same number.
TABLES_SCHEMA: Final = 1
METADATA_KEY: Final = "aritrace"
PARTITION: Final = "capture_verdict"
VERDICTS: Final = ("clean", "findings", "undetermined", "no-kexec", "unreadable")

_TEXTS = pl.List(pl.String())
_EVIDENCE = pl.List(
    pl.Struct(
        {
            "access": pl.UInt64,
            "file": pl.String,
            "offset_bytes": pl.UInt64,
            "time_ns": pl.Int64,
            "op": pl.String,
            "bdf": pl.String,
            "register": pl.String,
            "value": pl.String,
            "note": pl.String,
        }
    )
)
_BOOTS = pl.List(
    pl.Struct(
        {
            "index": pl.UInt32,
            "kind": pl.String,
            "release": pl.String,
            "cmdline": pl.String,
            "first_access": pl.UInt64,
            "last_access": pl.UInt64,
            "start_ns": pl.Int64,
            "end_ns": pl.Int64,
        }
    )
)
_OUTCOME = pl.Struct({"discovered": _TEXTS, "stranded": _TEXTS, "assumed": _TEXTS})
_KEYS: dict[str, pl.DataType] = {PARTITION: pl.String(), "capture": pl.UInt64(), "path": pl.String()}
_KEXEC_KEYS = _KEYS | {"host": pl.String(), "kexec": pl.UInt32()}

CAPTURES: Final = pl.Schema(
    _KEYS
    | {
        "host": pl.String(),
        "host_source": pl.String(),
        "outcome": pl.String(),
        "reason": pl.String(),
        "verdict": pl.String(),
        "size_bytes": pl.Int64(),
        "modified_ns": pl.Int64(),
        "etag": pl.String(),
        "files": pl.List(pl.Struct({"path": pl.String, "format": pl.String, "sha256": pl.String})),
        "format": pl.String(),
        "accesses": pl.UInt64(),
        "truncated": pl.Boolean(),
        "dropped": pl.UInt64(),
        "weight": pl.String(),
        "kexec_count": pl.UInt32(),
        "boots": _BOOTS,
        "missing_dwords": pl.UInt64(),
    }
)
KEXECS: Final = pl.Schema(
    _KEXEC_KEYS
    | {
        "index": pl.UInt32(),
        "kind": pl.String(),
        "outgoing_boot": pl.UInt32(),
        "incoming_boot": pl.UInt32(),
        "outgoing_release": pl.String(),
        "incoming_release": pl.String(),
        "at_access": pl.UInt64(),
        "time_ns": pl.Int64(),
        "time_source": pl.String(),
        "blackout_ns": pl.Int64(),
        "observed_policy": pl.String(),
        "policy": pl.String(),
        "series": pl.String(),
        "noari": pl.Boolean(),
        "preserved_source": pl.String(),
        "preservation": pl.String(),
        "ari": pl.String(),
        "loss": pl.Boolean(),
        "doubt": pl.Boolean(),
        "bridges_lost": pl.UInt32(),
        "devices_stranded": pl.UInt32(),
        "policies": pl.Struct(dict.fromkeys(POLICIES, _OUTCOME)),
        "observed": pl.Struct({"discovered": _TEXTS}),
        "divergences": pl.List(
            pl.Struct(
                {
                    "bdf": pl.String,
                    "predicted": pl.Boolean,
                    "observed": pl.Boolean,
                    "note": pl.String,
                    "explained": pl.Boolean,
                }
            )
        ),
        "secondary": pl.List(
            pl.Struct({"bdf": pl.String, "kind": pl.String, "note": pl.String, "evidence": _EVIDENCE})
        ),
        "consequences": pl.List(pl.Struct({"code": pl.String, "text": pl.String, "source": pl.String})),
        "findings": pl.List(
            pl.Struct(dict.fromkeys(("code", "severity", "bdf", "text", "weight"), pl.String))
        ),
        "warnings": _TEXTS,
    }
)
BRIDGES: Final = pl.Schema(
    _KEXEC_KEYS
    | {
        "bdf": pl.String(),
        "vendor_device": pl.String(),
        "secondary": pl.UInt8(),
        "subordinate": pl.UInt8(),
        "new_secondary": pl.UInt8(),
        "port_type": pl.String(),
        "preserved": pl.Boolean(),
        "ari_before": pl.Boolean(),
        "ari_after": pl.Boolean(),
        "ari_decided": pl.Boolean(),
        "verdict": pl.String(),
        "cause": pl.String(),
        "cause_bdf": pl.String(),
        "confidence": pl.String(),
        "window": pl.Struct({"last_on": pl.UInt64, "first_off": pl.UInt64, "phase": pl.String}),
        "evidence": _EVIDENCE,
        "stranded": _TEXTS,
        "missing_access": pl.String(),
        "cause_note": pl.String(),
    }
)
DEVICES: Final = pl.Schema(
    _KEXEC_KEYS
    | {
        "bdf": pl.String(),
        "vendor_device": pl.String(),
        "preserved": pl.Boolean(),
        "bridge": pl.String(),
        "verdict": pl.String(),
        "reason": pl.String(),
    }
)
ERRORS: Final = pl.Schema(
    _KEYS
    | {
        "host": pl.String(),
        "kind": pl.String(),
        "file": pl.String(),
        "offset_bytes": pl.UInt64(),
        "message": pl.String(),
    }
)
TABLES: Final[dict[str, pl.Schema]] = {
    "captures": CAPTURES,
    "kexecs": KEXECS,
    "bridges": BRIDGES,
    "devices": DEVICES,
    "errors": ERRORS,
}
