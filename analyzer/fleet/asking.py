"""What a run is asked for, checked before anything is listed: its request, and the files that it names."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from analyzer.errors import UsageError
from analyzer.fleet import grouping, histories, listing, stores
from analyzer.fleet.gathering import RequestedInputs
from analyzer.fleet.job import Limits, Request
from analyzer.options import Options
from analyzer.readers.small_files import command_line

if TYPE_CHECKING:
    from collections.abc import Sequence


#: What the operating system takes as a limit, and more than there is.
_LARGEST: Final = 1 << 62


def asked(  # noqa: PLR0913 as of the library's one verb
    sources: Sequence[str],
    *,
    options: Options | None = None,
    limits: Limits | None = None,
    batch_size: int | None = None,
    host_from_path: str | None = None,
    manifests: Sequence[str] = (),
    manifest_root: str | None = None,
    group_by: str | None = None,
    group_order: str | None = None,
    tables: bool = False,
) -> tuple[Request, RequestedInputs]:
    """Return the request, and what it names; the arguments are those of :func:`analyzer.fleet.run`.

    Raises:
        UsageError: an option has an impossible value, or a list or manifest cannot be read.
    """
    if not sources and not manifests:
        raise UsageError(
            "name at least one source", advice="a file, directory, glob, URL, @FILE or --manifest"
        )
    if manifest_root is not None and not manifests:
        raise UsageError("--manifest-root needs --manifest")
    chosen, limits = options or Options(), limits or Limits()
    _refuse_options_of_one(chosen)
    if min(limits.max_bytes, limits.max_seconds, limits.max_memory) <= 0:
        raise UsageError("limits must be greater than 0")
    if max(limits.max_bytes, limits.max_memory) > _LARGEST:
        raise UsageError(f"expected limits of at most {_LARGEST} bytes, found more")
    if batch_size is not None and batch_size < 1:
        raise UsageError(f"expected a batch of at least 1 capture, found {batch_size}")
    if host_from_path is not None:
        try:
            re.compile(host_from_path)
        except re.error as error:
            raise UsageError(f"--host-from-path: not a regular expression: {error}") from error
    if any(map(listing.is_url, (*manifests, manifest_root or ""))):
        stores.require()
    wanted = RequestedInputs(
        sources,
        listing.read_lists(sources),
        histories.read(manifests, manifest_root),
        grouping.read(group_by, group_order),
    )
    request = Request(
        sources=tuple(sources),
        lists={source: found.digest for source, found in wanted.lists.items()},
        policy=chosen.policy,
        series=chosen.series,
        assume_preserved=chosen.assume_preserved,
        # The command line itself: workers elsewhere need not see the file that it is in.
        cmdline=command_line(chosen),
        input_format=chosen.input_format,
        limits=limits,
        batch_size=batch_size,
        host_from_path=host_from_path,
        manifests={path: found.digest for path, found in wanted.histories.contents.items()},
        manifest_root=manifest_root,
        group_by=group_by,
        group_order=group_order,
        tables=tables,
    )
    return request, wanted


def _refuse_options_of_one(chosen: Options) -> None:
    allowed = Options(
        policy=chosen.policy,
        series=chosen.series,
        assume_preserved=chosen.assume_preserved,
        cmdline=chosen.cmdline,
        input_format=chosen.input_format,
    )
    if chosen != allowed:
        raise UsageError(
            "options that describe one capture cannot apply to all of them",
            advice="policy, series, assume_preserved, cmdline and input_format can; give the rest in"
            " sidecars, or in a manifest",
        )
