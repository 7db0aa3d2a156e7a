"""``analyze rule``: what a finding code means."""

from typing import Annotated

import typer

from analyzer.cli.parameters import TextOrJsonOption

Code = Annotated[
    str | None,
    typer.Argument(metavar="[CODE]", show_default=False, help="As in ARI001; without one, all are listed."),
]


def rule_command(code: Code = None, *, form: TextOrJsonOption = "text") -> None:
    """Explain a finding's code: what it means, where the rule comes from, what to do."""
    from analyzer.report import json_report, rule_report
    from analyzer.report.output import new_page, put_page, put_text
    from analyzer.results.rules import RULES, rule

    chosen = list(RULES.values()) if code is None else [rule(code)]
    if form == "json":
        put_text([json_report.dumps(chosen if code is None else chosen[0])], None)
    elif code is None:
        put_page(rule_report.fill_list(new_page(None), chosen), None)
    else:
        put_page(rule_report.fill_one(new_page(None), chosen[0]), None)
