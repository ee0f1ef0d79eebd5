"""The programs in examples/ run as their first lines say, with the shipped model."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from repository import ROOT

EXAMPLES = sorted(set((ROOT / "examples").glob("*.py")) - {ROOT / "examples/triton_client.py"})
"""The other one asks a server: tests/export/test_triton_repository.py."""


@pytest.mark.parametrize("program", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs_as_its_first_lines_say(program: Path, scene: Path) -> None:
    if program.stem == "own_network":
        pytest.importorskip("torch")
    (scene / "composite.jpg").write_bytes((scene / "c.jpg").read_bytes())
    (scene / "mask.png").write_bytes((scene / "m.png").read_bytes())
    (scene / "cutout.png").write_bytes((scene / "rgba.png").read_bytes())
    pixels = np.asarray(Image.open(scene / "c.png")).astype(np.uint16) * 257
    tifffile.imwrite(scene / "composite.tif", pixels, photometric="rgb")
    for folder, source in (("composites", "c.jpg"), ("masks", "m.png")):
        (scene / folder).mkdir()
        (scene / folder / f"a{Path(source).suffix}").write_bytes((scene / source).read_bytes())
    found = re.search(rf"^python examples/{program.name} (.*)$", program.read_text(), re.MULTILINE)
    assert found is not None
    words = found[1].replace("models/", f"{ROOT}/models/").split()
    known = set(scene.rglob("*"))
    result = subprocess.run(
        [sys.executable, program, *words], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert "failed" not in result.stdout
    made = set(scene.rglob("*")) - known
    assert all(path.is_dir() or path.stat().st_size for path in made)
    outputs = [word for word in words if not Path(word).exists()]
    assert not outputs
    assert made or result.stdout


@pytest.mark.long
def test_serve_demo_starts_asks_and_ends_the_service(scene: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("no curl")
    pytest.importorskip("uvicorn", reason="harmonizer[serve] is not installed")
    programs = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    command = ["sh", str(ROOT / "examples/serve.sh"), "c.jpg", "m.png", "out"]
    done = subprocess.run(
        command, env=os.environ | {"PATH": programs}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert Path("out/harmonized.jpg").read_bytes().startswith(b"\xff\xd8\xff")
    assert "arguments" in json.loads(Path("out/arguments.json").read_text())
    assert json.loads(Path("out/log.jsonl").read_text().splitlines()[-1])["message"] == "ended"
