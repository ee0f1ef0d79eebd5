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

SERVICE = ROOT / "examples" / "own_service.py"
ASKING_A_SERVER = ROOT / "examples" / "triton_client.py"
EXAMPLES = sorted(set((ROOT / "examples").glob("*.py")) - {SERVICE, ASKING_A_SERVER})
"""The others have tests of their own: below, and tests/export/test_triton_repository.py."""


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


@pytest.mark.parametrize("program", EXAMPLES, ids=lambda path: path.stem)
def test_example_without_words_says_how_it_is_called(program: Path) -> None:
    if program.stem == "own_network":
        pytest.importorskip("torch")
    command = [sys.executable, str(program)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert f"\npython examples/{program.name} " in result.stderr
    assert "Traceback" not in result.stderr


def test_folder_example_fails_where_a_picture_failed(scene: Path) -> None:
    for folder in ("composites", "masks"):
        (scene / folder).mkdir()
    (scene / "composites" / "a.jpg").write_bytes(b"x")
    command = [sys.executable, str(ROOT / "examples" / "folder.py"), "composites", "masks", "out"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 1 and result.stdout.startswith("failed: ")


def test_own_service_answers_with_the_picture_or_what_is_wrong(
    scene: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("fastapi", reason="harmonizer[serve] is not installed")
    pytest.importorskip("httpx", reason="FastAPI's test client needs httpx")
    from fastapi.testclient import TestClient

    monkeypatch.syspath_prepend(SERVICE.parent)
    import own_service  # type: ignore[import-not-found]

    client = TestClient(own_service.app)
    files = {"image": Path("c.jpg").read_bytes(), "mask": Path("m.png").read_bytes()}
    answer = client.post("/harmonize", files=files)
    assert answer.status_code == 200 and answer.headers["content-type"] == "image/jpeg"
    wanted = own_service.harmonizer.harmonize_file("c.jpg", "m.png", form="JPEG")
    assert answer.content == wanted.data
    refused = client.post("/harmonize", files=files | {"image": b"<html>"})
    assert refused.status_code == 422
    assert "must be a JPEG" in refused.json()["detail"]


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
