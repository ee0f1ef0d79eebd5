"""Engines kept in the user's cache: built once per key, never run when damaged."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tiny_predictor import write_predictor

from harmonizer.engine import BuildOptions, cached_engine
from harmonizer.engine.files import read_description, read_plan
from harmonizer.errors import HarmonizerWarning

pytest.importorskip("tensorrt_rtx", reason="tensorrt_rtx is not installed: make setup")

ADA = BuildOptions(compute_capabilities=("8.9",))
RTX = "tensorrt_rtx"


def test_cached_engine_is_built_once_per_key(tmp_path: Path) -> None:
    onnx_path, folder = write_predictor(tmp_path / "a.onnx"), tmp_path / "cache"

    def find(**changes: Any) -> Path:
        return cached_engine(**{"onnx": onnx_path, "options": ADA, "module": RTX} | changes)

    first = find(folder=folder)
    written = first.stat().st_mtime_ns
    assert find(folder=folder) == first and first.stat().st_mtime_ns == written
    other_model = write_predictor(tmp_path / "b.onnx", offset=0.1)
    other_options = BuildOptions(compute_capabilities=("8.6",))
    others = {find(folder=folder, onnx=other_model), find(folder=folder, options=other_options)}
    assert len(others | {first}) == 3

    data = bytearray(first.read_bytes())
    data[-1] ^= 1
    for damage in (bytes(data), b"", next(iter(others)).read_bytes()):
        first.write_bytes(damage)
        with pytest.warns(HarmonizerWarning, match="is not the engine that its name says"):
            assert find(folder=folder) == first
        assert read_description(read_plan(first)) is not None


def test_cached_engine_lies_in_the_users_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HARMONIZER_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    engine = cached_engine(write_predictor(tmp_path / "a.onnx"), ADA, RTX)
    assert engine.parent == tmp_path / "harmonizer/engines"


def test_cached_engine_of_two_processes_is_built_once(tmp_path: Path) -> None:
    onnx_path = write_predictor(tmp_path / "a.onnx")
    code = (
        "import sys\nfrom harmonizer.engine import cached_engine, BuildOptions, build\n"
        "import harmonizer.engine.cache as cache\n"
        "real = cache.build_engine\n"
        "cache.build_engine = lambda *a: (print('built'), real(*a))\n"
        "cached_engine(sys.argv[1], BuildOptions(), 'tensorrt_rtx', sys.argv[2])"
    )
    words = [sys.executable, "-c", code, str(onnx_path), str(tmp_path / "cache")]
    processes = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert sorted(outputs) == ["", "built\n"]
