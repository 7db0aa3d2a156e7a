"""``analyze lab``: captures of real kexecs, made on this machine."""

from typing import TYPE_CHECKING, Annotated

import typer

from analyzer.cli import exit_status
from analyzer.cli.parameters import QuietOption

if TYPE_CHECKING:
    from analyzer.lab.comparison import Outcome
    from analyzer.lab.parts import LabParts
    from analyzer.lab.runner import Lab
    from analyzer.lab.scenarios import Scenario

lab_app = typer.Typer(
    name="lab", help="Make captures of real kexecs in a virtual machine, and check their analysis."
)

Names = Annotated[
    list[str],
    typer.Argument(
        metavar="SCENARIO",
        show_default=False,
        help=(
            "Names from 'lab list'; all-stock, all-built, all-live-update or all-arm64 for all of a kind; or"
            " your own files (./my.toml)."
        ),
    ),
]
OutputDirectory = Annotated[
    str, typer.Option("--output", "-o", metavar="DIR", help="Where captures and raw files go.")
]
KernelOption = Annotated[
    str | None,
    typer.Option(
        "--kernel",
        metavar="BZIMAGE",
        show_default=False,
        help="Your kernel instead of Debian's or the built one.",
    ),
]
PackageOption = Annotated[
    str | None,
    typer.Option(
        "--kernel-package",
        metavar="NAME",
        show_default=False,
        help="Another of Debian's kernels for stock scenarios, as in linux-image-6.12-amd64.",
    ),
]
ModulesOption = Annotated[
    str | None,
    typer.Option(
        "--modules",
        metavar="DIR",
        show_default=False,
        help="The lib/modules/VERSION of your kernel, if the guest needs any.",
    ),
]
QemuOption = Annotated[
    str | None,
    typer.Option("--qemu", metavar="PATH", show_default=False, help="Your QEMU."),
]
TimeoutOption = Annotated[
    float, typer.Option("--timeout", metavar="SECONDS", min=1, help="Time limit for one scenario.")
]
KeepOption = Annotated[
    bool, typer.Option("--keep", help="Keep the temporary files (sockets, file system of the guest).")
]
NoKvmOption = Annotated[bool, typer.Option("--no-kvm", help="Emulate in software; do not try KVM first.")]
JobsOption = Annotated[
    int,
    typer.Option(
        "--jobs",
        "-j",
        metavar="N",
        min=0,
        show_default=False,
        help="Compilers that run at a time (default: one for each CPU).",
    ),
]
ExpectOption = Annotated[
    bool,
    typer.Option(
        "--expect",
        help="Show what was found as the table 'expect' of the scenario, and do not compare with it.",
    ),
]
SeriesOption = Annotated[
    str | None,
    typer.Option(
        "--series",
        metavar="NAME",
        show_default=False,
        help="Version of the Live Update series that the built kernel follows: v7 (default, as v6) or v9.",
    ),
]
LiveUpdateOption = Annotated[
    bool,
    typer.Option("--live-update", help="Build the kernel with the Live Update Orchestrator instead."),
]
_KINDS = ("stock", "built", "live-update", "arm64")


@lab_app.command("list")
def list_command() -> None:
    """Show every scenario, what it shows, and whether stock parts can run it."""
    from analyzer.lab import scenarios
    from analyzer.report import lab_report
    from analyzer.report.output import new_page, put_page

    put_page(lab_report.fill_list(new_page(None), scenarios.load_all()), None)


@lab_app.command("run")
def run_command(  # noqa: PLR0913 typer makes an option of each parameter
    names: Names,
    *,
    output: OutputDirectory = "lab-captures",
    kernel: KernelOption = None,
    kernel_package: PackageOption = None,
    modules: ModulesOption = None,
    qemu: QemuOption = None,
    timeout: TimeoutOption = 180,
    keep: KeepOption = False,
    no_kvm: NoKvmOption = False,
    expect: ExpectOption = False,
    series: SeriesOption = None,
    quiet: QuietOption = False,
) -> None:
    """Run scenarios, keep their captures, and compare the verdicts with what the kernels really did.

    Exit status 0 if every scenario came out as expected, 1 if one did not.
    """
    from analyzer.lab import parts
    from analyzer.lab.runner import Lab
    from analyzer.report import lab_report
    from analyzer.report.output import new_page, put_page

    chosen = _chosen(names, series, expected=not expect)
    _refuse_same_names(chosen)
    progress = (lambda _: None) if quiet else lab_report.print_lab_message
    outcomes: dict[str, Outcome] = {}
    for kind in _KINDS:
        group = [scenario for scenario in chosen if scenario.parts == kind]
        if not group:
            continue
        match kind:
            case "built":
                found = parts.find_built(kernel=kernel, modules=modules, qemu=qemu)
            case "live-update":
                found = parts.find_live_update(kernel=kernel, modules=modules, qemu=qemu)
            case "arm64":
                found = parts.find_arm64(package=kernel_package, qemu=qemu, progress=progress)
            case _:
                found = parts.find(
                    kernel=kernel, package=kernel_package, modules=modules, qemu=qemu, progress=progress
                )
        with Lab(found, keep=keep, kvm=kind != "arm64" and not no_kvm, progress=progress) as lab:
            for scenario in group:
                outcomes[scenario.name] = _run(lab, scenario, found, output, timeout, expect)
    ordered = [outcomes[scenario.name] for scenario in chosen]
    put_page(lab_report.fill_run(new_page(None), ordered), None)
    raise typer.Exit(exit_status.OK if all(outcome.ok for outcome in ordered) else exit_status.LOSS)


@lab_app.command("build", rich_help_panel="For developers of aritrace")
def build_command(
    *, jobs: JobsOption = 0, live_update: LiveUpdateOption = False, quiet: QuietOption = False
) -> None:
    """Build the patched QEMU and Linux that scenarios with built parts need (docs/lab-build.md)."""
    import os

    from analyzer.lab.build import build, build_live_update
    from analyzer.lab.kernel_package import cache_directory
    from analyzer.report import lab_report
    from analyzer.report.output import new_page, put_page

    progress = (lambda _: None) if quiet else lab_report.print_lab_message
    workers = jobs or os.cpu_count() or 1
    if live_update:
        live = build_live_update(cache_directory(), progress=progress, jobs=workers)
        paths = [live.kernel, live.luo_session]
    else:
        built = build(cache_directory(), progress=progress, jobs=workers)
        paths = [built.qemu, built.kernel]
    put_page(lab_report.fill_build(new_page(None), list(map(str, paths))), None)


def _chosen(names: list[str], series: str | None, *, expected: bool) -> "list[Scenario]":
    from analyzer.errors import UsageError
    from analyzer.lab import scenarios

    series = series or scenarios.SERIES[0]
    if series not in scenarios.SERIES:
        raise UsageError(f"--series: expected {' or '.join(scenarios.SERIES)}, found {series!r}")
    kinds = {scenario.name: scenario.parts for scenario in scenarios.load_all()}
    found: dict[str, None] = {}
    for name in names:
        kind = name.removeprefix("all-")
        if name != kind and kind in _KINDS:
            found.update(dict.fromkeys(each for each in kinds if kinds[each] == kind))
        else:
            found[name] = None
    return [scenarios.load(name, series, expected=expected) for name in found]


def _refuse_same_names(chosen: "list[Scenario]") -> None:
    from analyzer.errors import UsageError

    names = [scenario.name for scenario in chosen]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(
            f"two scenarios are called {twice[0]}, and would write the same files", advice="rename your file"
        )


def _run(
    lab: "Lab", scenario: "Scenario", found: "LabParts", output: str, timeout: float, expect: bool
) -> "Outcome":
    from analyzer.analysis import analyze
    from analyzer.errors import AritraceError, UsageError
    from analyzer.lab import comparison, expectation, faults, run_files
    from analyzer.readers import open_capture

    lacking = lab.lacks(scenario)
    if lacking:
        return comparison.Outcome(
            scenario.name, scenario.title, [], skipped=f"this QEMU has no {', '.join(lacking)}"
        )
    try:
        run = lab.run(scenario, seconds=timeout)
        capture = run_files.write(output, scenario, run, found)
    except UsageError:
        raise
    except AritraceError as error:
        return comparison.Outcome(scenario.name, scenario.title, [str(error)])
    analysis = analyze([capture])
    doubts = faults.doubts(open_capture(capture).accesses, run.blackouts)
    result, status = analysis.captures[0], exit_status.of_analysis(analysis)
    problems = [] if expect else comparison.compare(scenario, run, result, status)
    return comparison.Outcome(
        scenario.name,
        scenario.title,
        [*doubts, *problems],
        result=result,
        expectation=expectation.table(scenario, run, result, status) if expect else None,
        enumerated=run.enumerated,
        capture=capture,
        seconds=run.seconds,
    )
