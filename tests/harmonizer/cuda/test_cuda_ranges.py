"""Ranges for profilers: round each stage of a frame where `nvtx` is, nothing elsewhere."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from types import SimpleNamespace

import pytest

from harmonizer.cuda import ranges
from harmonizer.cuda.slot import Recording


def recording(said: list[str]) -> Recording:
    made = Recording()
    for stage in ("measure", "predict", "draw"):
        made.add(stage, (partial(said.append, f"{stage} {n}") for n in (1, 2)))
    made.add("nothing", ())
    return made


def test_calls_are_made_in_order_without_nvtx(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranges, "nvtx", None)
    said: list[str] = []
    recording(said).play()
    assert said == [f"{stage} {n}" for stage in ("measure", "predict", "draw") for n in (1, 2)]


def test_each_stage_is_a_range_that_an_error_closes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []

    @contextmanager
    def annotate(message: str, domain: str) -> Iterator[None]:
        said.append(f"{domain} {message} {{")
        try:
            yield
        finally:
            said.append("}")

    monkeypatch.setattr(ranges, "nvtx", SimpleNamespace(annotate=annotate))
    recording(said).play()
    assert said[:4] == ["harmonizer measure {", "measure 1", "measure 2", "}"]
    assert said.count("}") == 3 and not any("nothing" in word for word in said)

    def fail() -> None:
        raise RuntimeError

    said.clear()
    broken = Recording()
    broken.add("draw", [fail])
    with pytest.raises(RuntimeError):
        broken.play()
    assert said == ["harmonizer draw {", "}"]
