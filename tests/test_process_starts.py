"""Where the program starts processes, all of it: no interpreter gets the current directory on its path.

Ruff's rules S602 to S607 look at shells and at untrusted words; this looks at what is started, and where.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted(path for package in ("analyzer", "schemas") for path in (ROOT / package).rglob("*.py"))

#: Modules, and names of the standard library and of Dask, that start processes.
MODULES = {"subprocess", "multiprocessing", "pty", "loky", "joblib", "popen2", "_posixsubprocess"}
NAMES = {
    "ProcessPoolExecutor", "create_subprocess_exec", "create_subprocess_shell", "subprocess_exec",
    "subprocess_shell", "LocalCluster", "Nanny", "SSHCluster", "startfile", "posix_spawn", "posix_spawnp",
    "forkpty",
}  # fmt: skip
OF_OS_AND_SYS = {"executable", "system", "popen", "fork"} | {
    kind + ending for kind in ("exec", "spawn") for ending in ("l", "le", "lp", "lpe", "v", "ve", "vp", "vpe")
}
#: Every module with such a name, and why what it starts runs no file of the current directory.
STARTS = {
    "analyzer/extras.py": "nothing: only the name of this interpreter, in an advice",
    "analyzer/fleet/parquet_rows.py": "this interpreter with -P, on the path of its parent",
    "analyzer/fleet/workers.py": "interpreters, all inside safe_path()",
    "analyzer/fleet/worker.py": "only the type of its pipe",
    "analyzer/lab/kernel_package.py": "dpkg-deb",
    "analyzer/lab/process.py": "apt-cache, apt-get, depmod, cpio, ldd and QEMU; a machine in its own folder",
    "analyzer/lab/build/requirements.py": "dpkg-query",
    "analyzer/lab/build/sources.py": "apt-cache",
    "analyzer/lab/build/steps.py": "apt-get, dpkg, tar; configure, make, ninja in the folder of sources",
}


def starters_in(tree: ast.AST) -> set[str]:
    """Whatever in this module could start a process."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names if name.name.split(".")[0] in MODULES}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} if node.module.split(".")[0] in MODULES else set()
            known = NAMES | OF_OS_AND_SYS if node.module in ("os", "sys") else NAMES
            found |= {name.name for name in node.names if name.name in known}
        elif isinstance(node, ast.Attribute):
            known = NAMES | OF_OS_AND_SYS if ast.unparse(node.value) in ("os", "sys") else NAMES
            found |= {node.attr} & known
    return found


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def module(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_processes_are_started_only_here():
    assert {module(path) for path in SOURCES if starters_in(parsed(path))} == set(STARTS)


def test_interpreters_are_started_only_on_a_safe_path():
    tree = ast.parse((ROOT / "analyzer/fleet/workers.py").read_text("utf-8"))
    safe = [
        call
        for block in ast.walk(tree)
        if isinstance(block, ast.With)
        and any(ast.unparse(item.context_expr) == "safe_path()" for item in block.items)
        for call in starts_of_interpreters(block)
    ]
    assert sorted(map(ast.unparse, safe)) == ["process.start()", "resource_tracker.ensure_running()"]
    assert safe == starts_of_interpreters(tree)


def test_the_interpreter_that_reads_parquet_is_started_with_a_safe_path():
    tree = ast.parse((ROOT / "analyzer/fleet/parquet_rows.py").read_text("utf-8"))
    (started,) = [
        ast.unparse(node.args[0])
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("subprocess.")
    ]
    assert started.startswith("[sys.executable, '-P', '-c', _START, ")


def starts_of_interpreters(tree: ast.AST) -> list[ast.Call]:
    """Calls that start one: of a process object, of multiprocessing's own helpers."""
    methods = {"start", "ensure_running", "run_forever", "Pool", "Manager", "Queue", "Lock", "SharedMemory"}
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in methods
        and ast.unparse(node.func.value) != "threading"
    ]  # fmt: skip


def test_no_program_is_python():
    words = {
        (module(path), node.value)
        for path in SOURCES
        if module(path) in STARTS and "/build/requirements" not in module(path)  # packages that a build needs
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("python")
    }
    assert words == set()


def test_builds_run_in_their_own_folder():
    """What may start Python itself (configure, make, ninja) is given the folder of its sources."""
    calls = [
        (module(path), node)
        for path in SOURCES
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "run_step"
    ]
    without = {
        (name, ast.unparse(node.args[1]).split(",")[0].strip("['"))
        for name, node in calls
        if not any(keyword.arg == "folder" for keyword in node.keywords)
    }
    assert without == {
        ("analyzer/lab/arm64_packages.py", "dpkg-deb"),
        ("analyzer/lab/build/live_update.py", "command"),  # gcc
        ("analyzer/lab/build/qemu.py", "result / target"),
        ("analyzer/lab/build/sources.py", "dpkg-source"),
        ("analyzer/lab/build/sources.py", "dpkg-deb"),
        ("analyzer/lab/build/sources.py", "tar"),
    }
    assert len(calls) > len(without)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("import subprocess", {"subprocess"}),
        ("from multiprocessing import Pool", {"multiprocessing"}),
        ("from concurrent.futures import ProcessPoolExecutor", {"ProcessPoolExecutor"}),
        ("os.execv(path, words)", {"execv"}),
        ("asyncio.create_subprocess_exec(word)", {"create_subprocess_exec"}),
        ("[sys.executable, '-c', text]", {"executable"}),
        ("from distributed import LocalCluster", {"LocalCluster"}),
        ("from os import execv", {"execv"}),
        ("os.path.join(path)", set()),
        ("platform.system()", set()),
    ],
)
def test_the_search_finds_them(text, found):
    assert starters_in(ast.parse(text)) == found
