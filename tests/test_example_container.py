"""docs/examples/Containerfile is built and run, and the Kubernetes Job that uses its image is valid."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "docs" / "examples"
CONTAINERFILE = (EXAMPLES / "Containerfile").read_text("utf-8")
JOB = yaml.safe_load((EXAMPLES / "fleet-job.yaml").read_text("utf-8"))
(CONTAINER,) = JOB["spec"]["template"]["spec"]["containers"]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
#: Debian 12 has Python 3.11. Unpacked only: no package is configured.
SUITE, PYTHON = "bookworm", "3.11"
PACKAGES = "coreutils,dash,libstdc++6,python3,python3-venv"


@pytest.mark.parametrize("kubernetes", ["1.27", "1.31", "1.34"])
def test_the_job_is_valid(kubernetes):
    """Against the schemas of these versions, with nothing that they do not know."""
    kubernetes_validate.validate(JOB, kubernetes, strict=True)


def test_that_would_find_a_fault():
    wrong = JOB | {"spec": JOB["spec"] | {"completionsMode": "Indexed"}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, "1.31", strict=True)


def test_its_shards_are_its_completions():
    assert JOB["spec"]["completions"] == JOB["spec"]["parallelism"]
    assert f"$(SHARD)/{JOB['spec']['completions']}" in CONTAINER["args"]


def test_the_image_of_the_job_is_the_one_that_is_built():
    (built,) = re.findall(r"podman build .* -t (\S+) \.$", CONTAINERFILE, re.MULTILINE)
    assert CONTAINER["image"] == built == f"registry.example/aritrace:{VERSION}"
    assert f"USER {JOB['spec']['template']['spec']['securityContext']['runAsUser']}:" in CONTAINERFILE


def test_the_arguments_of_the_job_are_those_of_the_program(tmp_path):
    """The same words, with a directory for the store; as the image's entry, analyze is in front of them."""
    from fleet_runs import CLEAN, Fleet

    fleet = Fleet(tmp_path)
    fleet.add("clean.bin", CLEAN)
    words = {"s3://captures/": fleet.captures, "/shared/out": fleet.out, "$(SHARD)/32": "0/32"}
    first, *rest = (words.get(one, one) for one in CONTAINER["args"])
    assert (first, fleet(*rest)[0]) == ("fleet", 0)


def run(*command: object) -> str:
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


def download(folder: Path) -> None:
    """Fetch the wheels of the lock for the Python of the base: the image is built without an index."""
    here = {"python_version": PYTHON, "python_full_version": f"{PYTHON}.2"}
    chosen = []
    for line in re.split(r"(?<!\\)\n", (ROOT / "requirements.lock").read_text("utf-8")):
        if line and not line.startswith("#"):
            marker = Requirement(line.partition("\\")[0]).marker
            if marker is None or marker.evaluate(here):
                chosen.append(re.sub(r" ; [^\\]*", " ", line))
    (folder / "chosen.txt").write_text("\n".join(chosen))
    platforms = [f"--platform=manylinux{name}_x86_64" for name in ("_2_28", "_2_17", "2014")]
    run(
        sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--require-hashes", "--only-binary=:all:",
        f"--python-version={PYTHON}", *platforms, "-r", folder / "chosen.txt", "-d", folder / "wheels",
    )  # fmt: skip
    (folder / "pip.conf").write_text("[global]\nno-index = true\nfind-links = /wheels\n")


def clone(folder: Path) -> Path:
    """Copy what the image is built of: no test that runs beside this one writes compiled modules there."""
    for name in sorted(set(re.findall(r"^COPY (?!--)(.+) \S+$", CONTAINERFILE, re.MULTILINE))):
        for part in name.split():
            target = folder / part
            target.parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / part).is_dir():
                shutil.copytree(ROOT / part, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / part, target)
    return folder


@pytest.fixture
def space(tmp_path):
    """For two gigabytes that pytest should not keep."""
    yield tmp_path
    shutil.rmtree(tmp_path)


@pytest.mark.system
def test_the_image_runs_the_main_job_as_a_user_without_rights(space):
    """Built on a base of Debian packages, in place of an image of a registry."""
    buildah = ["buildah", f"--root={space}/store", f"--runroot={space}/run", "--storage-driver=vfs"]
    limits = ["--isolation=chroot", "--network=host"]
    run("mmdebstrap", "--variant=extract", f"--include={PACKAGES}", SUITE, space / "base.tar")
    run(*buildah, "from", "--name=base", "scratch")
    run(*buildah, "add", "base", space / "base.tar", "/")
    run(*buildah, "commit", "base", "base")
    download(space)
    run(
        *buildah, "build", *limits, "--layers=false", "--build-arg=BASE=localhost/base", "--tag=aritrace",
        f"--volume={space}/wheels:/wheels:ro", f"--volume={space}/pip.conf:/etc/pip.conf:ro",
        f"--file={EXAMPLES / 'Containerfile'}", clone(space / "clone"),
    )  # fmt: skip
    (entry,) = re.findall(r'^ENTRYPOINT \["(\S+)"\]$', CONTAINERFILE, re.MULTILINE)
    name = run(*buildah, "from", f"--volume={ROOT / 'traces'}:/captures:ro", "aritrace").strip()
    started = [*buildah, "run", *limits, name, "--"]
    assert run(*started, entry, "clean-inherit.bin").startswith("clean: ")
    assert (
        run(*started, "/usr/bin/python3", "-c", "import os; print(os.getuid(), os.getgid())")
        == "65532 65532\n"
    )
    assert run(*started, entry, "--version").startswith(f"aritrace {VERSION}\n")
