"""What every page shares: the template engine, style and script, and the policy that blocks everything else.

Every string that a template shows is made inert (:mod:`analyzer.escaping`) and then escaped; templates
never mark anything as safe. The page's own style and script are named by hash in its content security policy,
so that whatever might slip into a page from a capture can neither run nor load anything.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from analyzer.escaping import inert
from analyzer.plurals import count
from analyzer.report import wording
from analyzer.version import NAME, version

if TYPE_CHECKING:
    from collections.abc import Iterator

_PACKAGE = "analyzer.report.html"
#: A sign for each state, so that no state is shown by its colour alone, and its text for screen readers.
SIGNS = {
    "bad": ("\N{BALLOT X}", "lost"),
    "warn": ("!", "note"),
    "unknown": ("?", "unknown"),
    "good": ("\N{CHECK MARK}", "good"),
    "none": ("\N{MIDDLE DOT}", ""),
}


@cache
def environment() -> Environment:
    """Return the template engine with the filters that pages use."""
    made = Environment(
        loader=PackageLoader(_PACKAGE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_shown,
    )
    made.filters.update(count=count, duration=wording.duration, clock=wording.clock, listed=wording.listed)
    style, script = _own("style.css"), _own("page.js")
    made.globals.update(
        signs=SIGNS,
        tool=f"{NAME} {version()}",
        # Our own two files, none of it from a capture.
        style=Markup(style),  # noqa: S704
        script=Markup(script),  # noqa: S704
        policy=_policy(style, script),
    )
    return made


def render(template: str, **values: object) -> Iterator[str]:
    """Yield a page piece by piece."""
    return environment().get_template(template).generate(**values)


def _shown(value: object) -> object:
    """What a template prints for a value: every text is made inert, None is nothing."""
    if value is None:
        return ""
    if isinstance(value, str) and not isinstance(value, Markup):
        return inert(value)
    return value


def _own(name: str) -> str:
    """A file of this package. Line ends are those that a browser hashes."""
    text = (resources.files(_PACKAGE) / "templates" / name).read_text(encoding="utf-8")
    return text.replace("\r\n", "\n")


def _policy(style: str, script: str) -> str:
    return (
        f"default-src 'none'; style-src {_hashed(style)}; script-src {_hashed(script)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _hashed(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
