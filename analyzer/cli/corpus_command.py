"""``analyze corpus``: the regression corpus checked, and its expectations updated by hand only."""

from typing import Annotated

import typer

from analyzer.cli import exit_status

corpus_app = typer.Typer(name="corpus", help="Check or update the regression corpus.")

Directory = Annotated[
    str, typer.Argument(metavar="[DIR]", help="Folder of NAME.bin files with a NAME.toml beside each.")
]
Write = Annotated[bool, typer.Option("--write", help="Write the new expectations into the case files.")]
_CORPUS = "traces"


@corpus_app.command("check")
def check_command(directory: Directory = _CORPUS) -> None:
    """Judge every capture of the corpus and compare with its case file; exit status 1 if one differs."""
    from analyzer.questions import corpus
    from analyzer.report import corpus_report
    from analyzer.report.output import new_page, put_page

    cases = corpus.check(directory)
    put_page(corpus_report.fill_check(new_page(None), cases), None)
    raise typer.Exit(exit_status.OK if all(case.ok for case in cases) else exit_status.LOSS)


@corpus_app.command("update")
def update_command(directory: Directory = _CORPUS, *, write: Write = False) -> None:
    """Show as a diff what the case files would have to expect; nothing is written without --write."""
    from analyzer.questions import corpus
    from analyzer.report import corpus_report
    from analyzer.report.output import new_page, put_page

    cases = corpus.update(directory, write=write)
    put_page(corpus_report.fill_update(new_page(None), cases, written=write), None)
