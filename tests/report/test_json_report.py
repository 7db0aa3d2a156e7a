import json

import result_samples as samples

from analyzer.report import json_report

#: The promised keys (interface: JSON), in their order; more may stand behind them.
TOP = ["schema", "tool", "policy", "captures", "summary"]
CAPTURE = [
    *("path", "files", "format", "host", "accesses", "truncated", "dropped", "verdict", "boots", "kexecs"),
    "errors",
]
BOOT = ["index", "kind", "release", "cmdline", "first_access", "last_access", "start_ns", "end_ns"]
KEXEC = [
    *("index", "kind", "outgoing_boot", "incoming_boot", "at_access", "blackout_ns", "observed_policy"),
    *("policy", "series", "noari", "preserved_source", "bridges", "devices", "policies", "observed"),
    *("divergences", "secondary", "consequences"),
]
BRIDGE = [
    *("bdf", "vendor_device", "secondary", "subordinate", "new_secondary", "port_type", "preserved"),
    *("ari_before", "ari_after", "ari_decided", "verdict", "cause", "cause_bdf", "confidence", "window"),
    *("evidence", "stranded"),
]
EVIDENCE = ["access", "file", "offset_bytes", "time_ns", "op", "bdf", "register", "value", "note"]
DEVICE = [
    "bdf", "vendor_device", "preserved", "bridge", "verdict", "reason", "was", "bus_master",
    "bus_master_access",
]  # fmt: skip
SUMMARY = ["captures", "kexecs", "bridges_lost", "devices_stranded", "undetermined", "unreadable"]


def starts_with(keys, found):
    return list(found)[: len(keys)] == keys


def test_the_promised_keys_stand_in_order():
    whole = json.loads(json_report.json_text(samples.analysis(samples.lost())))
    capture = whole["captures"][0]
    kexec = capture["kexecs"][0]
    lost = kexec["bridges"][3]
    assert list(whole) == TOP
    assert whole["schema"] == 1
    assert list(whole["tool"]) == ["name", "version"]
    assert list(whole["summary"]) == SUMMARY
    assert starts_with(CAPTURE, capture)
    assert list(capture["files"][0]) == ["path", "format", "sha256"]
    assert list(capture["boots"][0]) == BOOT
    assert starts_with(KEXEC, kexec)
    assert starts_with(BRIDGE, lost)
    assert list(lost["window"]) == ["last_on", "first_off", "phase"]
    assert list(lost["evidence"][0]) == EVIDENCE
    assert list(kexec["devices"][0]) == DEVICE
    assert list(kexec["policies"]) == ["stock", "inherit", "serialize", "heal"]
    assert list(kexec["policies"]["stock"]) == ["discovered", "stranded", "assumed", "undetermined"]
    assert list(kexec["observed"]) == ["discovered"]


def test_what_does_not_apply_is_null():
    kept = json.loads(json_report.json_text(samples.analysis(samples.clean())))["captures"][0]["kexecs"][0][
        "bridges"
    ][1]
    assert (kept["cause"], kept["cause_bdf"], kept["window"], kept["new_secondary"]) == (None,) * 4


def test_a_row_of_an_unreadable_capture():
    row = json.loads(json_report.json_text(samples.analysis(samples.unreadable())))["captures"][0]
    assert row["verdict"] == "unreadable"
    assert list(row["errors"][0]) == ["kind", "file", "offset_bytes", "message"]


def test_lines_hold_a_capture_each():
    lines = list(json_report.json_lines(samples.analysis(samples.lost(), samples.clean())))
    assert all(line.endswith("\n") and line.count("\n") == 1 for line in lines)
    assert [json.loads(line)["path"] for line in lines] == ["lost.bin", "clean.bin"]


def test_any_name_gives_valid_ascii_json():
    name = 'caf\u00e9 \U0001f4a3 \udcff\ud800 \x1b[2J \u202e "quote" \\back'
    text = json_report.json_text(samples.analysis(samples.clean(name)))
    assert text.isascii()
    assert "\x1b" not in text
    expected = name.replace("\udcff", "\\xff").replace("\ud800", "\\ud800")
    assert json.loads(text)["captures"][0]["path"] == expected


def test_the_same_result_gives_the_same_bytes():
    assert json_report.json_text(samples.analysis(samples.lost())) == json_report.json_text(
        samples.analysis(samples.lost())
    )
