"""Numbers that no counter holds, and what a batch takes for done."""

import json
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harmonizer import Harmonizer
from harmonizer.arguments import Arguments
from harmonizer.batch import RECORD_NAME
from harmonizer.checks import MAX_THREADS, finite
from harmonizer.cli import main
from harmonizer.documents import MAX_DEPTH, parse_document
from harmonizer.errors import ArgumentsError
from harmonizer.limits import MemoryBudget
from harmonizer.plan import Plan, Step
from harmonizer.renderer import CpuRenderer
from harmonizer.video.errors import VideoError
from harmonizer.video.track import Track

HUGE = int("9" * 400)
LOOK = {
    "format": "harmonizer-arguments",
    "version": 1,
    "filters": ["brightness"],
    "arguments": {"brightness": 0.2},
}


@pytest.mark.parametrize("value", [HUGE, -HUGE, True, "1", None, float("nan"), float("inf"), []])
def test_finite_of_what_is_no_float_is_none(value: Any) -> None:
    assert finite(value) is None
    assert finite(np.float32(0.5)) == 0.5 and finite(3) == 3.0


@pytest.mark.parametrize("value", [HUGE, -HUGE, int("9" * 999)])
def test_whole_numbers_of_many_digits_are_refused_everywhere(tmp_path: Path, value: int) -> None:
    with pytest.raises(ArgumentsError):
        Step("contrast", 0.1, (value,))
    with pytest.raises(ArgumentsError):
        Arguments.from_mapping({"brightness": value}, ("brightness",))
    step = {"operation": "contrast", "argument": 0.1, "statistics": [value]}
    with pytest.raises(ArgumentsError):
        Plan.from_document({"format": "harmonizer-plan", "version": 1, "steps": [step]})
    header = {"format": "harmonizer-track", "version": 1, "filters": ["contrast"]}
    for changed in (
        {"time": value},
        {"arguments": {"contrast": value}},
        {"statistics": {"contrast": [value]}},
    ):
        line = {"time": 0.0, "arguments": {"contrast": 0.1}} | changed
        (tmp_path / "t.jsonl").write_text(f"{json.dumps(header)}\n{json.dumps(line)}\n")
        with pytest.raises((VideoError, ArgumentsError)):
            Track.load(tmp_path / "t.jsonl")


@pytest.mark.parametrize(
    "text",
    ["9" * 5000, "[" * 100_000, "[" * (MAX_DEPTH + 2) + "]" * (MAX_DEPTH + 2), '{"a":1,"a":2}', ""],
)
def test_documents_beyond_the_limits_are_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_document(text)
    with pytest.raises(ValueError):
        parse_document(b"\xff\xfe")


def test_threads_beyond_reason_are_refused(scene: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("look.json").write_text(json.dumps(LOOK))
    words = ["image", "c.png", "m.png", "-o", "o.png", "--arguments", "look.json"]
    for flag in ("--threads", "--max-pixels"):
        assert main([*words, flag, "99999999999"]) == 2
        assert main([*words, flag, "9" * 5000]) == 2
        assert "whole number above 0" in capsys.readouterr().err
    Path("cs").mkdir()
    Path("c.png").rename("cs/c.png")
    batch = ["batch", "cs", "-o", "out", "--arguments", "look.json", "--jobs", "99999999999"]
    assert main(batch) == 2
    assert f"--jobs must be at most {MAX_THREADS}" in capsys.readouterr().err
    for build in (CpuRenderer, lambda n: Harmonizer(threads=n)):
        with pytest.raises(ValueError, match="must be at most"):
            build(MAX_THREADS + 1)


def test_batch_skips_by_what_was_written_and_what_it_was_made_of(
    scene: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("look.json").write_text(json.dumps(LOOK))
    for name in ("cs", "ms"):
        Path(name).mkdir()
    Path("c.png").rename("cs/a.png")
    Path("m.png").rename("ms/a.png")
    words = ["batch", "cs", "ms", "-o", "out", "--arguments", "look.json"]

    def said() -> str:
        assert main(words) == 0
        return capsys.readouterr().out

    assert said() == "1 done, 0 skipped, 0 failed\n"
    assert said() == "0 done, 1 skipped, 0 failed\n"
    entry = json.loads((Path("out") / RECORD_NAME).read_text())
    assert set(entry) == {"output", "key", "written"}
    # Another content of the same size and time.
    output, before = Path("out/a.png"), Path("out/a.png").stat()
    data = bytearray(output.read_bytes())
    data[-20] ^= 1
    output.write_bytes(data)
    os.utime(output, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert said() == "1 done, 0 skipped, 0 failed\n"
    composite, before = Path("cs/a.png"), Path("cs/a.png").stat()
    pixels = np.asarray(Image.open(composite)).copy()
    Image.fromarray(255 - pixels).save(composite)
    with composite.open("ab") as file:
        file.truncate(max(before.st_size, composite.stat().st_size))
    os.utime(composite, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert said() == "1 done, 0 skipped, 0 failed\n"


def test_batch_record_that_is_no_file_is_refused(
    scene: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("look.json").write_text(json.dumps(LOOK))
    for name in ("cs", "ms", "out"):
        Path(name).mkdir()
    Path("c.png").rename("cs/a.png")
    Path("m.png").rename("ms/a.png")
    os.mkfifo(Path("out") / RECORD_NAME)
    assert main(["batch", "cs", "ms", "-o", "out", "--arguments", "look.json"]) == 2
    assert RECORD_NAME in capsys.readouterr().err


def test_memory_budget_holds_back_what_does_not_fit_beside() -> None:
    budget, inside, most = MemoryBudget(10), 0, 0
    guard = threading.Lock()

    def work(pixels: int) -> None:
        nonlocal inside, most
        for _ in range(200):
            with budget.of(pixels):
                with guard:
                    inside += pixels
                    most = max(most, inside)
                with guard:
                    inside -= pixels

    threads = [threading.Thread(target=work, args=(size,)) for size in (4, 4, 7, 15)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most <= 15  # one image is always worked on, whatever its size, and then alone
    assert inside == 0
