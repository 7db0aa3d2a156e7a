import pytest
import result_samples as samples

import analyzer.analysis
from analyzer.cli.application import run


class Program:
    """The program with the analysis replaced: prepared results by path, and a note of how it was asked."""

    def __init__(self, capsys):
        self._capsys = capsys
        self.results = {}
        self.paths = None
        self.options = None

    def analyze(self, paths, options=None, *, progress=None, studied=None):
        del progress, studied
        self.paths, self.options = list(paths), options
        rows = [self.results.get(path) or samples.clean(path) for path in paths]
        return samples.analyzed(rows, options)

    def __call__(self, *arguments):
        status = run(arguments)
        said = self._capsys.readouterr()
        return status, said.out, said.err


@pytest.fixture
def program(capsys, monkeypatch):
    fake = Program(capsys)
    monkeypatch.setattr(analyzer.analysis, "analyze", fake.analyze)
    return fake
