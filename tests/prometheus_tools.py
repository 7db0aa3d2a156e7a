"""The textfile as the tools of Prometheus see it: checked, evaluated by the alerts, scraped, asked."""

from __future__ import annotations

import json
import re
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import URLError
from urllib.parse import quote
from urllib.request import urlopen

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLES = Path(__file__).parents[1] / "docs" / "examples"
RULES = EXAMPLES / "aritrace.rules.yml"
DASHBOARD = json.loads((EXAMPLES / "aritrace-dashboard.json").read_text("utf-8"))
#: Of node_exporter: when the textfile was written.
MTIME = "node_textfile_mtime_seconds"
#: A server that does not say its address, or gets no sample, in so many tries of 0.1 s is given up.
_TRIES = 600


def alerts() -> dict[str, str]:
    """Expression of each alert."""
    (group,) = yaml.safe_load(RULES.read_text("utf-8"))["groups"]
    return {rule["alert"]: rule["expr"] for rule in group["rules"]}


def panels() -> dict[str, list[str]]:
    """Queries of each panel of the dashboard, as PromQL."""
    return {panel["title"]: [target["expr"] for target in panel["targets"]] for panel in DASHBOARD["panels"]}


def promtool(*arguments: object, given: str | None = None) -> tuple[int, str]:
    """Exit status, and all that it said."""
    done = subprocess.run(
        ["promtool", *map(str, arguments)], input=given, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


def refuted(text: str | None, hours: int, firing: dict[str, int], folder: Path) -> str:
    """What ``promtool test rules`` has against these alerts, by number; "" if just they fire.

    Args:
        text: of a textfile, written at time 0 and not changed since; None: there is none.
        hours: how long ago that was.
        firing: how many of each alert.
        folder: for a file.
    """
    samples = [line.rpartition(" ") for line in (text or "").splitlines() if line[0] != "#"]
    series = [{"series": one, "values": f"{value}x600"} for one, _, value in samples]
    if text is not None:
        series.append({"series": f'{MTIME}{{file="/srv/textfile/aritrace.prom"}}', "values": "0x600"})
    count = {
        "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
        "eval_time": f"{hours}h",
        "exp_samples": [{"labels": f'{{alertname="{one}"}}', "value": n} for one, n in firing.items()],
    }
    test = {"interval": "4m", "input_series": series, "promql_expr_test": [count]}
    path = folder / "test.yml"
    path.write_text(json.dumps({"rule_files": [str(RULES)], "evaluation_interval": "4m", "tests": [test]}))
    status, said = promtool("test", "rules", path)
    return said if status else ""


@contextmanager
def _server(*command: object) -> Iterator[str]:
    """Start a server on loopback, and return its address, which it says on standard error."""
    process = subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if found := re.search(r"Listening on.*address=(127\S+)", line):
                break
        else:
            raise AssertionError("".join(said))
        yield found[1]
    finally:
        process.terminate()
        process.communicate()


@contextmanager
def node_exporter(folder: Path) -> Iterator[str]:
    """node_exporter with the textfiles of a folder; its address."""
    with _server(
        "prometheus-node-exporter", "--collector.disable-defaults", "--collector.textfile",
        f"--collector.textfile.directory={folder}", "--web.listen-address=127.0.0.1:0",
    ) as address:  # fmt: skip
        yield address


def _asked(address: str, what: str) -> Any:
    with urlopen(f"http://{address}/api/v1/{what}") as answer:
        return json.load(answer)["data"]


class Prometheus:
    """A running server."""

    def __init__(self, address: str) -> None:
        self._address = address

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Labels and value of each sample, at this moment."""
        asked = expression.replace("$instance", ".*")
        found = _asked(self._address, f"query?query={quote(asked)}")
        return [(sample["metric"], float(sample["value"][1])) for sample in found["result"]]

    def alerts(self) -> list[dict[str, str]]:
        """Labels of the alerts whose expression holds, with their ``state``."""
        return [one["labels"] | {"state": one["state"]} for one in _asked(self._address, "alerts")["alerts"]]


@contextmanager
def prometheus(exporter: str, folder: Path) -> Iterator[Prometheus]:
    """Prometheus with the rules of the examples, when it has scraped an exporter and evaluated the rules."""
    settings = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(RULES)],
        "scrape_configs": [{"job_name": "node", "static_configs": [{"targets": [exporter]}]}],
    }
    (folder / "prometheus.yml").write_text(json.dumps(settings))
    with _server(
        "prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/tsdb",
        "--web.listen-address=127.0.0.1:0",
    ) as address:  # fmt: skip
        server = Prometheus(address)
        for _ in range(_TRIES):
            try:
                # Rules that saw the metrics: the one on their absence is not pending any more.
                absent = any(one["alertname"] == "AritraceReportMissing" for one in server.alerts())
                if server.query(MTIME) and server.query("ALERTS") and not absent:
                    break
            except (URLError, ConnectionError):
                pass
            time.sleep(0.1)
        else:
            raise AssertionError("Prometheus has no sample")
        yield server
