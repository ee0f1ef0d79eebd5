"""The load of the service: its results say what it measured, and the page says what they say."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from repository import ROOT

from bench.results_file import check
from bench.service import BOUND, CLIENTS, GROWTH, RATIO, rows

pytest.importorskip("fastapi", reason="harmonizer[serve] is not installed")


def test_page_has_the_tables_of_the_results() -> None:
    document = json.loads((ROOT / "bench/results/service.json").read_text())
    page = (ROOT / "docs/serving.md").read_text()
    told = "\n".join(rows(document))
    assert told in page, "python -m bench.service --table bench/results/service.json prints them"
    assert document["environment"]["commit"] in page


@pytest.mark.slow
def test_small_run_writes_every_figure(tmp_path: Path) -> None:
    sizes = {"size": "96x64", "total": 24, "count": 2, "requests": 40}
    words = [word for name, value in sizes.items() for word in (f"--{name}", str(value))]
    output = tmp_path / "service.json"
    command = [sys.executable, "-m", "bench.service", *words, "--output", str(output)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    document = json.loads(output.read_text())
    check(document)
    assert [one["runs"] for one in document["measurements"]] == [24] * len(CLIENTS)
    figures = {figure["name"]: figure["value"] for figure in document["figures"]}
    assert {RATIO, BOUND, GROWTH, "two processes: pictures a second"} <= figures.keys()
    assert figures["memory: requests"] == 40
    assert done.stdout.strip() == "\n".join(rows(document))
