"""Random, damaged and interrupted videos: no leak, no hang, nothing half-written."""

import gc
import threading
import time
import traceback
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from video_clips import decoded, disc, picture, write_clip

from harmonizer.arguments import Arguments
from harmonizer.errors import HarmonizerError
from harmonizer.harmonizer import Harmonizer
from harmonizer.ops import DEFAULT_FILTERS
from harmonizer.recipes import Recipe, Tools
from harmonizer.renderer import CpuRenderer
from harmonizer.video import Encoding, Inputs, Job, harmonize_video

pytestmark = pytest.mark.long

PATIENCE_S = 120
BRIGHT = Arguments(DEFAULT_FILTERS, (0.1, 0.3, 0.2, 0.2, -0.1, 0.1))
DAMAGES = ("none", "cut", "flip", "zero", "drop", "empty", "swap")


def damage(path: Path, kind: str, random: np.random.Generator) -> None:
    """Spoil a file."""
    data = bytearray(path.read_bytes())
    if kind == "cut":
        data = data[: int(len(data) * random.uniform(0.05, 0.95))]
    elif kind == "flip":
        for place in random.integers(0, len(data), 20):
            data[place] ^= 1 << int(random.integers(8))
    elif kind == "zero":
        start = int(random.integers(len(data)))
        data[start : start + 200] = bytes(min(200, len(data) - start))
    elif kind == "empty":
        data = bytearray()
    path.write_bytes(data)


def make(folder: Path, name: str, random: np.random.Generator, size: tuple[int, int]) -> Path:
    """A clip of random length, kind and times; some frames are missing."""
    width, height = size
    count = int(random.integers(3, 14))
    kept = np.sort(random.permutation(count)[: max(2, count - int(random.integers(0, 4)))])
    suffix = str(random.choice([".mp4", ".mkv", ".mov", ".ts"]))
    source = disc if name == "m" else picture
    return write_clip(
        folder / f"{name}{suffix}",
        [source(int(i), width, height) for i in kept],
        times=[int(40 * i) for i in kept],
        time_base=Fraction(1, 1000),
        options={"preset": "ultrafast", "crf": "20"},
    )


def one_round(folder: Path, random: np.random.Generator, tools: Tools) -> str:
    """Harmonize random clips; "done", or the kind of refusal."""
    size = tuple(int(n) for n in random.integers(8, 80, 2) * 2)
    other = size if random.random() < 0.9 else (size[0] + 2, size[1])
    composite, mask = make(folder, "c", random, size), make(folder, "m", random, other)
    victim = composite if random.random() < 0.6 else mask
    damage(victim, str(random.choice(DAMAGES)), random)
    output = folder / "o.mp4"
    output.write_bytes(b"old")
    cancel = threading.Event()
    if random.random() < 0.1:
        cancel.set()
    job = Job(
        Recipe(BRIGHT) if tools.harmonizer is None else Recipe(),
        encoding=Encoding(preset="ultrafast"),
        two_pass=bool(random.random() < 0.2),
        save_track=folder / "t.jsonl",
        on_cancel="keep",
    )
    inputs = Inputs(
        composite,
        mask,
        when_short=("refuse", "hold", "stop")[int(random.integers(3))],  # type: ignore[arg-type]
        skip_damaged=bool(random.random() < 0.5),
    )
    outcome: list[str] = []

    def work() -> None:
        try:
            report = harmonize_video(tools, inputs, output, job, cancel=cancel)
            outcome.append("done" if report.written else "cancelled")
        except HarmonizerError as error:
            assert "\n" not in str(error)
            outcome.append("refused")
        except BaseException as error:  # the test reports it
            outcome.append("".join(traceback.format_exception(error)))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(PATIENCE_S)
    assert outcome, "it hangs"
    assert outcome[0] in ("done", "cancelled", "refused"), outcome[0]
    if outcome[0] == "done":
        assert decoded(output)
    else:
        assert output.read_bytes() == b"old"
    left = [path.name for path in folder.iterdir() if path.name.startswith(".")]
    assert not left
    assert not [t for t in threading.enumerate() if t.name.startswith("hz-")]
    for path in folder.iterdir():
        path.unlink()
    return outcome[0]


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20


def soak(folder: Path, tools: Tools, rounds: int, seconds: float, seed: int) -> list[str]:
    """Rounds until either limit; descriptors and memory must not grow after the first tenth."""
    random = np.random.default_rng(seed)
    outcomes: list[str] = []
    settled, files = 0.0, 0
    end = time.monotonic() + seconds
    while len(outcomes) < rounds and time.monotonic() < end:
        outcomes.append(one_round(folder, random, tools))
        if len(outcomes) == max(4, rounds // 10):
            gc.collect()
            settled, files = resident_mb(), descriptors()
    gc.collect()
    if settled and Path("/proc/self/fd").exists():
        assert descriptors() <= files + 2
        # Codec contexts of other sizes and allocator arenas of more threads come and go.
        assert resident_mb() < settled + 60
    return outcomes


def test_video_survives_damaged_inputs(tmp_path: Path) -> None:
    outcomes = soak(tmp_path, Tools(CpuRenderer(1)), 24, 40, 1)
    assert {"done", "refused"} <= set(outcomes)


@pytest.mark.slow
def test_video_survives_a_long_run(tmp_path: Path, model: Path) -> None:
    with Harmonizer(model, "cpu", 1) as harmonizer:
        tools = Tools(harmonizer.renderer, harmonizer)
        outcomes = soak(tmp_path, tools, 600, 300, 2)
    assert {"done", "refused"} <= set(outcomes)


def test_video_memory_does_not_grow_with_length(tmp_path: Path) -> None:
    """600 small frames; bench/video.py does 10,000."""
    write_clip(
        tmp_path / "c.mkv",
        (picture(i % 50, 128, 96) for i in range(600)),
        options={"preset": "ultrafast"},
    )
    write_clip(
        tmp_path / "m.mkv",
        (disc(i, 128, 96) for i in range(600)),
        options={"preset": "ultrafast"},
    )
    sizes: dict[int, float] = {}

    def progress(name: str, done: int, total: int | None) -> None:
        sizes[done] = resident_mb()

    job = Job(Recipe(BRIGHT), encoding=Encoding(preset="ultrafast"))
    inputs = Inputs(tmp_path / "c.mkv", tmp_path / "m.mkv")
    harmonize_video(Tools(CpuRenderer(1)), inputs, tmp_path / "o.mkv", job, progress)
    assert len(sizes) == 600
    # 450 frames of 128x96 in RGB alone would be 16 MB.
    assert sizes[600] - sizes[150] < 8


def test_video_frames_missing_from_the_middle_leave_a_gap(tmp_path: Path) -> None:
    times = [0, 40, 80, 400, 440]
    kwargs = {"times": times, "time_base": Fraction(1, 1000)}
    composite = write_clip(tmp_path / "c.mkv", map(picture, range(5)), **kwargs)  # type: ignore[arg-type]
    mask = write_clip(tmp_path / "m.mkv", (disc(i) for i in range(12)))
    job = Job(Recipe(BRIGHT))
    harmonize_video(Tools(CpuRenderer(1)), Inputs(composite, mask), tmp_path / "o.mkv", job)
    with av.open(str(tmp_path / "o.mkv")) as container:
        assert [round(1000 * f.time) for f in container.decode(video=0)] == times
