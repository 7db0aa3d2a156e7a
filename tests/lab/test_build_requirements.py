"""What a build needs from Debian: all missing packages in one error, and sources from our own list."""

from __future__ import annotations

from pathlib import Path

import pytest

from analyzer.lab.build.kernel import CONFIGURATION, not_accepted
from analyzer.lab.build.requirements import PACKAGES, missing, require_packages
from analyzer.lab.build.sources import archive_lines, debian_codename
from analyzer.lab.build.steps import BuildError

DOCUMENT = Path(__file__).parents[2] / "docs" / "lab-build.md"


def test_missing_packages_are_listed_in_order() -> None:
    assert missing(("b", "a", "c"), {"a"}) == ["b", "c"]
    assert missing(("a",), {"a", "z"}) == []


def test_a_system_without_dpkg_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BuildError, match="needs a Debian system") as failure:
        require_packages()
    assert "--kernel" in failure.value.advice


@pytest.mark.parametrize("package", PACKAGES)
def test_the_document_lists_every_package(package: str) -> None:
    assert package in DOCUMENT.read_text(encoding="utf-8").split()


@pytest.mark.parametrize(
    ("codename", "suites"),
    [("bookworm", ["bookworm", "bookworm-security"]), ("sid", ["sid"])],
)
def test_archives_of_a_release(codename: str, suites: list[str]) -> None:
    lines = archive_lines(codename, mirror="http://mirror.example").splitlines()
    assert [line.split()[0] for line in lines] == ["deb", "deb-src"] * len(suites)
    assert [line.split()[-2] for line in lines[::2]] == suites
    assert all("signed-by=" in line and "http://mirror.example/" in line for line in lines)


@pytest.mark.parametrize(
    ("text", "codename"),
    [
        ('PRETTY_NAME="Debian"\nID=debian\nVERSION_CODENAME=trixie\n', "trixie"),
        ('VERSION_CODENAME="bookworm"\nID="debian"', "bookworm"),
    ],
)
def test_the_release_comes_from_os_release(text: str, codename: str) -> None:
    assert debian_codename(text) == codename


@pytest.mark.parametrize(
    "text",
    ["", "ID=fedora\nVERSION_CODENAME=x\n", "ID=debian\n", "ID=debian\nVERSION_CODENAME=../etc\n"],
)
def test_another_system_is_refused(text: str) -> None:
    with pytest.raises(BuildError, match="expected a Debian release"):
        debian_codename(text)


def test_lines_that_kconfig_did_not_take() -> None:
    wanted = "# a comment\nCONFIG_A=y\nCONFIG_B=n\nCONFIG_C=n\nCONFIG_D=18\nCONFIG_E=y\n"
    config = "CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C=y\nCONFIG_D=17\n"
    assert not_accepted(wanted, config) == ["CONFIG_C=n", "CONFIG_D=18", "CONFIG_E=y"]
    assert "CONFIG_KEXEC=y" in CONFIGURATION.splitlines()
