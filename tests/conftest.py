"""Makes the sample builders beside this file importable from every test folder; counts random cases."""

from __future__ import annotations

import functools
import gc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from analyzer.cli import application

#: Folders, files and tests of tests/ that take most of the processor time: random machines, damage at every
#: edge, workers, whole programs. ``-m "not slow"`` leaves them out (CONTRIBUTING.md says how long both take).
SLOW = (
    "cli/test_output_files.py",
    "cli/test_signals.py",
    "damage",
    "fleet",
    "fuzz",
    "hostile",
    "lab/test_handover.py::test_a_cycle_of_blocks_ends",
    "oracle",
    "readers/test_earlydump_reader.py::test_no_text_is_slow",
    "readers/test_ftrace_text_reader.py::test_250_single_damaged_bytes_give_an_answer_or_a_reason",
    "readers/test_lspci_dump_reader.py::test_no_text_is_slow",
    "readers/test_native_damage.py",
    "readers/test_pcap_damage.py",
    "readers/test_pcap_story.py::test_verdicts_are_those_of_the_machine",
    "readers/test_printed_events.py::test_two_kernels_on_one_console_are_their_two_recordings_joined",
    "readers/test_qemu_extras.py",
    "readers/test_qemu_log_reader.py::test_any_access_in_any_dialect_survives",
    "readers/test_qemu_log_reader.py::test_any_bytes_do_no_harm",
    "readers/test_simpletrace_reader.py::test_both_decodes_of_a_real_file_are_equal",
    "readers/test_sniff.py::test_no_text_makes_the_search_slow",
    "readers/test_tlp_matching.py::test_any_interleaving_is_matched_as_one_by_one",
    "readers/test_trace_dat_damage.py",
    "readers/test_unwrap.py",
    "report/test_fleet_page.py",
    "report/test_html_page.py::test_five_thousand_functions_fit_on_a_page",
    "test_batches.py",
    "test_bench.py::test_a_quick_run",
    "test_boots.py::test_more_boots_than_the_limit_are_refused",
    "test_cmdline.py::test_any_text_is_split",
    "test_conversion_lossless.py",
    "test_corpus.py::test_corpus_is_as_expected",
    "test_distributions.py",
    "test_evidence_fields.py::test_all_evidence_of_the_corpus_is_decoded",
    "test_example_gate.py",
    "test_example_metrics.py",
    "test_example_scripts.py",
    "test_first_reads.py::test_every_register_is_what_its_bytes_are",
    "test_functions.py",
    "test_library.py::test_the_session_in_the_documentation",
    "test_lspci_text_deletions.py",
    "test_minimal.py",
    "test_missing_bytes_suffice.py",
    "test_never_all_clear.py",
    "test_new_column.py",
    "test_one_verdict.py",
    "test_redaction.py",
    "test_series_table.py::test_one_more_row_is_a_choice_on_the_command_line_and_has_its_consequences",
    "test_snapshot_round_trip.py",
    "test_thinning.py",
    "writers/test_atomic.py",
)

# No time ever decides a test: a busy machine may take long over one example.
settings.register_profile("aritrace", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("aritrace")

# The commands are the same in every call, and putting them together takes as long as a short call.
application.build = functools.cache(application.build)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is slow."""
    here = Path(__file__).parent
    slow = [(here / place, test) for place, _, test in (name.partition("::") for name in SLOW)]
    for item in items:
        name = item.name.partition("[")[0]
        if any(item.path.is_relative_to(place) and test in ("", name) for place, test in slow):
            item.add_marker(pytest.mark.slow)


def pytest_collection_finish() -> None:
    """Leave modules and thousands of tests, which live as long as the process, out of garbage collections."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish() -> None:
    """Let the end of the process find everything."""
    gc.unfreeze()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many random machines the replay was compared on (see oracle/), and how many deletions."""
    counts = {"oracle_cases": 0, "oracle_completions": 0, "deletion_cases": 0, "completion_cases": 0}
    for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed"):
        for name, value in getattr(report, "user_properties", ()):
            if name in counts and report.when == "call":
                counts[name] += value
    if counts["oracle_cases"]:
        terminalreporter.write_line(f"oracle: {counts['oracle_cases']} cases compared")
    if counts["oracle_completions"]:
        terminalreporter.write_line(
            f"oracle: {counts['oracle_completions']} machines with unknown inputs compared"
        )
    if counts["deletion_cases"]:
        terminalreporter.write_line(
            f"deletions: {counts['deletion_cases']} answers compared with those of the whole input"
        )
    if counts["completion_cases"]:
        terminalreporter.write_line(
            f"missing bytes: {counts['completion_cases']} dumps completed with what the answer named"
        )
