"""Get Debian's source packages with a private apt, so that the host's apt stays as it is.

The package lists, the downloads and the list of archives are in the cache; only the keyring, the proxy
settings and the database of installed packages are the host's.
"""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from analyzer.lab.build.steps import BuildError, run_step

if TYPE_CHECKING:
    from collections.abc import Iterable

MIRROR = "http://deb.debian.org"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_KERNEL = re.compile(r"^linux-source-(\d+)\.(\d+)$")


@dataclass(frozen=True)
class PrivateApt:
    """An apt whose state is in a directory of the cache.

    Attributes:
        state: the directory; made if it is not there.
        log: gets what apt prints.
        architecture: Debian's name of it, as in ``arm64``; empty = the host's. Of another one nothing counts
            as installed.
        prefer: the release whose packages come before newer ones of others; empty = none.
    """

    state: Path
    log: Path
    architecture: str = ""
    prefer: str = ""

    def update(self, *codenames: str) -> None:
        """Fetch the package lists, sources included for the host's architecture, of Debian releases.

        Args:
            codenames: of the releases, as ``VERSION_CODENAME`` in /etc/os-release, or their ``-backports``.

        Raises:
            BuildError: apt fails, or Debian's keyring is missing.
        """
        if not KEYRING.exists():
            raise BuildError(
                "Debian's archive keyring is missing",
                path=str(KEYRING),
                advice="install debian-archive-keyring",
            )
        for folder in ("lists/partial", "cache/archives/partial"):
            (self.state / folder).mkdir(parents=True, exist_ok=True)
        lines = "".join(archive_lines(name, architecture=self.architecture) for name in codenames)
        (self.state / "sources.list").write_text(lines, encoding="utf-8")
        if self.architecture:
            (self.state / "status").touch()
        self._run("fetch package lists", "apt-get", "update", seconds=600)

    def newest_kernel_source(self) -> str:
        """Return the name of the newest ``linux-source-X.Y`` package.

        Raises:
            BuildError: the release has none.
        """
        names = self._ask("apt-cache", "search", "--names-only", "^linux-source-").split()
        found = [(int(m[1]), int(m[2]), str(m[0])) for m in map(_KERNEL.match, names) if m]
        if not found:
            raise BuildError("expected a package linux-source-X.Y in this Debian release, found none")
        return max(found)[2]

    def source_version(self, package: str) -> str:
        """Return the newest version of a source package.

        Raises:
            BuildError: the release has no such source package.
        """
        return _version(self._ask("apt-get", "source", "--print-uris", "--only-source", package), package)

    def binary_version(self, package: str) -> str:
        """Return the version of a binary package that apt would install.

        Raises:
            BuildError: the release has no such package.
        """
        found = re.search(r"^  Candidate: (\S+)", self._ask("apt-cache", "policy", package), re.MULTILINE)
        if not found or found[1] == "(none)":
            raise BuildError(f"expected a package {package} in this Debian release, found none")
        return found[1]

    def depends(self, package: str) -> list[str]:
        """Return what a binary package depends on directly, without what provides a virtual one."""
        lines = self._ask("apt-cache", "depends", "--important", package).splitlines()
        return [line.split()[-1] for line in lines if re.match(r" [ |](Pre)?Depends: [a-z0-9]", line)]

    def download(self, packages: Iterable[str], folder: Path) -> list[Path]:
        """Download binary packages.

        Raises:
            BuildError: the release does not have one, or the download fails.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._run("download packages", "apt-get", "download", *packages, seconds=1800, folder=folder)
        return sorted(folder.glob("*.deb"))

    def unpack_source(self, package: str, into: Path) -> None:
        """Download a source package and unpack it, Debian's patches applied.

        Args:
            package: the source package.
            into: the tree; must not exist.

        Raises:
            BuildError: the download or the unpacking fails.
        """
        folder = into.parent
        folder.mkdir(parents=True, exist_ok=True)
        self._run(
            f"download the sources of {package}",
            *("apt-get", "source", "--download-only", "--only-source", package),
            seconds=1800,
            folder=folder,
        )
        run_step(
            f"unpack the sources of {package}",
            ["dpkg-source", "--no-check", "--extract", _only(folder, f"{package}_*.dsc"), into],
            log=self.log,
            seconds=900,
        )

    def unpack_kernel_source(self, package: str, into: Path) -> None:
        """Download a ``linux-source-X.Y`` package and unpack the tarball in it.

        Args:
            package: the binary package that holds the tarball.
            into: the tree; must not exist.

        Raises:
            BuildError: the download or the unpacking fails.
        """
        folder = into.parent
        folder.mkdir(parents=True, exist_ok=True)
        self._run(
            f"download {package}", "apt-get", "download", package, seconds=1800, folder=folder
        )  # signed by the release, which apt checks
        outer = folder / "package"
        deb = _only(folder, f"{package}_*.deb")
        run_step(f"unpack {package}", ["dpkg-deb", "-x", deb, outer], log=self.log, seconds=300)
        into.mkdir()
        tarball = _only(outer / "usr" / "src", f"{package}.tar.*")
        run_step(
            f"unpack {tarball.name}",
            ["tar", "-x", "-f", tarball, "-C", into, "--strip-components=1"],
            log=self.log,
            seconds=900,
        )

    def _options(self) -> list[str]:
        options = {
            "Dir::Etc::SourceList": self.state / "sources.list",
            "Dir::Etc::SourceParts": "/dev/null",
            "Dir::State::Lists": self.state / "lists",
            "Dir::Cache": self.state / "cache",
            "Acquire::Retries": "2",
        }
        if os.geteuid() == 0:
            options["APT::Sandbox::User"] = "root"  # apt's own user may not write to the cache
        if self.prefer:
            options["APT::Default-Release"] = self.prefer
        if self.architecture:
            options["APT::Architecture"] = options["APT::Architectures"] = self.architecture
            options["Dir::State::Status"] = self.state / "status"
        return [word for name, value in options.items() for word in ("-o", f"{name}={value}")]

    def _run(self, what: str, program: str, *words: str, seconds: float, folder: Path | None = None) -> None:
        command = [program, *self._options(), "-q", *words]
        run_step(what, command, log=self.log, seconds=seconds, folder=folder)

    def _ask(self, program: str, *words: str) -> str:
        answer = subprocess.run(  # noqa: S603 - words of our own, never through a shell
            [program, *self._options(), *words],
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
            env={**os.environ, "LC_ALL": "C.UTF-8"},
        )
        if answer.returncode != 0:
            raise BuildError(
                f"{program} {words[0]} ended with status {answer.returncode}: {answer.stderr.strip()}"
            )
        return answer.stdout


def archive_lines(codename: str, *, mirror: str = MIRROR, architecture: str = "") -> str:
    """Return the sources.list of one Debian release, its security archive included where it has one.

    Args:
        codename: of the release.
        mirror: address of the archive.
        architecture: of another machine, for which no sources are needed; empty = the host's.
    """
    suites = [(f"{mirror}/debian", codename)]
    if codename != "sid" and not codename.endswith("-backports"):
        suites.append((f"{mirror}/debian-security", f"{codename}-security"))
    foreign = f"arch={architecture} " if architecture else ""
    return "".join(
        f"{kind} [{foreign}signed-by={KEYRING}] {address} {suite} main\n"
        for address, suite in suites
        for kind in (("deb",) if architecture else ("deb", "deb-src"))
    )


def debian_codename(os_release: str) -> str:
    """Return the release that /etc/os-release names.

    Args:
        os_release: the text of that file.

    Raises:
        BuildError: it is not Debian, or the file does not say which release.
    """
    values = dict(re.findall(r'^(\w+)="?([^"\n]*)"?$', os_release, re.MULTILINE))
    name = str(values.get("VERSION_CODENAME", ""))
    if values.get("ID") != "debian" or not re.fullmatch(r"[a-z]+", name):
        raise BuildError(
            f"expected a Debian release, found ID={values.get('ID', '')!r} and VERSION_CODENAME={name!r}",
            path="/etc/os-release",
            advice="build on Debian, or give your own parts with --kernel and --qemu",
        )
    return name


def _version(uris: str, package: str) -> str:
    """Return the version in the name of the .dsc file that ``apt-get source --print-uris`` lists."""
    found = re.search(rf" {re.escape(package)}_(\S+)\.dsc ", uris)
    if not found:
        raise BuildError(f"expected a source package {package} in this Debian release, found none")
    return str(found[1])


def _only(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        raise BuildError(f"expected one file {pattern}, found {len(found)}", path=str(folder))
    return found[0]
