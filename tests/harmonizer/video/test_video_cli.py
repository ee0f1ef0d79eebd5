"""`harmonizer video`: options, bad input in one line, interruption, nothing half-written."""

import os
import signal
import subprocess
import sys
import threading
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from command_line import COMMAND, refused
from PIL import Image
from video_clips import (
    HEIGHT,
    WIDTH,
    assert_same_frames,
    decoded,
    disc,
    picture,
    write_clip,
    write_pair,
    write_tone,
)

from harmonizer.arguments import Arguments
from harmonizer.cli import main
from harmonizer.recipes import Recipe, Tools
from harmonizer.renderer import CpuRenderer
from harmonizer.video import Inputs, Job, Track, VideoError, harmonize_video
from harmonizer.video.encoders import opens


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with c.mp4, its mask m.mp4 and constant arguments a.json; the working directory."""
    write_pair(tmp_path)
    Arguments.identity().save(tmp_path / "a.json")
    monkeypatch.chdir(tmp_path)
    return tmp_path


DRAW = ["--arguments", "a.json", "--set", "brightness=0.4", "--preset", "ultrafast"]


def leftovers(folder: Path) -> list[str]:
    """Temporary files."""
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


def test_video_command_predicts_smooths_and_replays(
    pair: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Lossless: libx264 gives different bytes from run to run for the same frames.
    lossless = ["video", "c.mp4", "m.mp4", "--codec", "ffv1", "-o"]
    predicting = ["--model", str(model), "--every", "2"]
    looking_ahead = ["--save-arguments", "t.jsonl", "--smooth", "two-pass"]
    assert main([*lossless, "o.mkv", *predicting, *looking_ahead]) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    done = "8 frames, 8 drawn; on the CPU, ffv1"
    assert captured.err.splitlines()[-1] == f"harmonizer: wrote: o.mkv ({done})"
    assert main([*lossless, "p.mkv", "--arguments", "t.jsonl"]) == 0
    assert_same_frames(Path("o.mkv"), Path("p.mkv"))
    words = ["video", "c.mp4", "m.mp4", "-o", "o.mp4", *predicting]
    assert main([*words, "--weight", "0.9", "--save-arguments", "t.jsonl"]) == 0
    assert len(Track.load("t.jsonl").entries) == 8
    assert not leftovers(pair)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["missing.mp4", "m.mp4"], "missing.mp4 must be a readable video; No such file"),
        (["text.mp4", "m.mp4"], "text.mp4 must be a readable video; Invalid data"),
        (["empty.mp4", "m.mp4"], "empty.mp4 must be a readable video"),
        (["sound.mp4", "m.mp4"], "must have a video stream; it has audio"),
        (["c.mp4"], "c.mp4 must have an alpha channel"),
        (["c.mp4", "c.mp4"], "must be another file"),
        (["c.mp4", "small.mp4"], "small.mp4 is 32x24 for a 64x48 video. .*--fit-mask"),
        (["c.mp4", "short.mp4"], "short.mp4 must last as long as the video; it ends at 0.200 s"),
        (["c.png", "m.mp4"], "c.png must be a video or a sequence of images"),
        (["c.mp4", "m.mp4", "--background", "small.mp4"], "one size and rotation; small.mp4"),
        (["c.mp4", "m.mp4", "--codec", "libx999"], "--codec must be an encoder of this PyAV"),
        (["c.mp4", "m.mp4", "--codec", "aac"], "--codec must be a video encoder"),
        (["c.mp4", "m.mp4", "--pixel-format", "gbrp"], "--pixel-format must be one that libx264"),
        (["c.mp4", "m.mp4", "--preset", "warp9"], "must be encodable with libx264"),
        (["c.mp4", "m.mp4", "--codec-option", "no-such=1"], "does not know no-such"),
        (["c.mp4", "m.mp4", "--codec", "ffv1", "--crf", "3"], "--crf must go with"),
        (["c.mp4", "m.mp4", "--codec", "ffv1", "--preset", "slow"], "--preset must go with"),
        (["c.mp4", "m.mp4", "--crf", "3", "--codec-option", "crf=9"], "got --crf 3.* and 9 in"),
        (["c.mp4", "m.mp4", "--preset", "fast", "--codec-option", "preset=slow"], "given once"),
        (["c.mp4", "m.mp4", "-o", "o.webm", "--codec", "libx264"], "kind that can hold libx264"),
        (["c.mp4", "m.mp4", "-o", "o.gif"], "o.gif must end in one of .mp4"),
        (["c.mp4", "m.mp4", "-o", "nowhere/o.mp4"], "cannot be written"),
        (["c.mp4", "m.mp4", "-o", "c.mp4"], "would replace an input"),
        (["c.mp4", "m.mp4", "--smooth", "off", "--weight", "0.9"], "--smooth off has no"),
        (["c.mp4", "m.mp4", "--smooth", "two-pass", "--weight", "0.9"], "time constants"),
        (["c.mp4", "m.mp4", "--time-constant", "-1"], "0 or more seconds"),
        (["c.mp4", "m.mp4", "--mask-levels", "9,3"], "black < white"),
        (["c.mp4", "m.mp4", "--rate", "0"], "must be frames per second"),
        (["c.mp4", "m.mp4", "--save-arguments", "a.txt"], "must end in .jsonl"),
        (["back.mkv", "m.mp4"], "must have increasing timestamps; frame 2 is at"),
        (["folder", "m.mp4"], "folder must name images"),
        (["c.mp4", "m.mp4", "--arguments", "bad.jsonl"], "line 1 of bad.jsonl must be JSON"),
    ],
)
def test_video_bad_input_is_one_line_with_the_remedy(
    pair: Path, capsys: pytest.CaptureFixture[str], words: list[str], complaint: str
) -> None:
    import re

    Path("text.mp4").write_text("not a video " * 50)
    Path("empty.mp4").touch()
    Path("folder").mkdir()
    Path("bad.jsonl").write_text("{")
    Image.fromarray(picture(0)).save("c.png")
    write_clip(pair / "small.mp4", [disc(0, 32, 24)] * 8)
    write_clip(pair / "short.mp4", [disc(0)] * 5)
    with av.open("sound.mp4", "w") as container:
        write_tone(container, container.add_stream("aac", rate=8000), 0.3)
    write_backwards(pair / "back.mkv")
    extra = [] if "-o" in words else ["-o", "o.mp4"]
    given = [] if "--arguments" in words else DRAW[:2]
    line = refused(capsys, 2, "video", *words, *extra, *given)
    assert re.search(complaint, line), line
    assert not Path("o.mp4").exists()
    assert not leftovers(pair)


def write_backwards(path: Path) -> None:
    """Intra-coded packets, whose decoding times increase and display times do not."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuvj420p"
        for index, shown in enumerate((0, 80, 40, 120)):
            frame = av.VideoFrame.from_ndarray(picture(index), "rgb24").reformat(format="yuvj420p")
            frame.pts, frame.time_base = index * 40, Fraction(1, 1000)
            for packet in stream.encode(frame):
                packet.pts = packet.dts = None
                packet.pts, packet.dts = shown, index * 40 - 200
                packet.time_base = Fraction(1, 1000)
                container.mux(packet)


def test_video_rate_counts_frames_where_timestamps_go_back(pair: Path) -> None:
    write_backwards(pair / "back.mkv")
    Image.fromarray(disc(0)).save("m.png")
    words = ["video", "back.mkv", "m.png", "-o", "o.mp4", "--rate", "25", *DRAW]
    assert main(words) == 0
    assert [f.time for f in decoded(pair / "o.mp4")] == pytest.approx([0, 0.04, 0.08, 0.12])


@pytest.mark.parametrize(("choice", "frames"), [("hold", 8), ("stop", 5)])
def test_video_short_mask_is_held_or_stops(
    pair: Path, capsys: pytest.CaptureFixture[str], choice: str, frames: int
) -> None:
    write_clip(pair / "short.mp4", map(disc, range(5)))
    words = ["video", "c.mp4", "short.mp4", "-o", "o.mp4", "--when-short", choice, *DRAW]
    assert main(words) == 0
    assert len(decoded(pair / "o.mp4")) == frames
    assert ("stopped where the mask" in capsys.readouterr().err) == (choice == "stop")


def test_video_fit_mask_scales(pair: Path) -> None:
    write_clip(pair / "small.mp4", [disc(i, 32, 24) for i in range(8)])
    assert main(["video", "c.mp4", "small.mp4", "-o", "o.mp4", "--fit-mask", *DRAW]) == 0
    assert len(decoded(pair / "o.mp4")) == 8


def test_video_audio_that_the_container_cannot_hold_is_refused(
    pair: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_clip(pair / "a.mkv", map(picture, range(8)), audio=True)
    words = ["video", "a.mkv", "m.mp4", "-o", "o.webm", *DRAW[:4]]
    line = refused(capsys, 2, *words)
    assert "hold the audio stream (aac)" in line
    assert "--no-audio" in line
    assert main([*words, "--no-audio"]) == 0


def test_video_empty_mask_leaves_every_sample(
    pair: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(np.zeros((HEIGHT, WIDTH), np.uint8)).save("m.png")
    words = ["video", "c.mp4", "m.png", "-o", "o.mp4", *DRAW, "--crf", "0"]
    assert main(words) == 0
    assert "8 of 8 frames have nothing to draw" in capsys.readouterr().err
    for before, after in zip(decoded(pair / "c.mp4"), decoded(pair / "o.mp4"), strict=True):
        np.testing.assert_array_equal(before.to_ndarray(), after.to_ndarray())


@pytest.mark.parametrize("keep", [True, False])
def test_video_cancelled_keeps_a_playable_file_or_nothing(pair: Path, keep: bool) -> None:
    Path("o.mp4").write_bytes(b"old")
    cancel = threading.Event()

    def progress(name: str, done: int, total: int | None) -> None:
        assert total == 8
        if done == 3:
            cancel.set()

    job = Job(Recipe(Arguments.identity()), on_cancel="keep" if keep else "discard")
    inputs = Inputs(Path("c.mp4"), Path("m.mp4"))
    report = harmonize_video(
        Tools(CpuRenderer(1)), inputs, "o.mp4", job, progress=progress, cancel=cancel
    )
    assert (report.cancelled, report.written) == (True, keep)
    assert len(decoded(pair / "o.mp4")) == 3 if keep else Path("o.mp4").read_bytes() == b"old"
    assert not leftovers(pair)
    assert not [t for t in threading.enumerate() if t.name.startswith("hz-")]


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("choice", ["keep", "discard"])
def test_video_ctrl_c_ends_the_command(pair: Path, choice: str) -> None:
    write_clip(pair / "long.mkv", (picture(i % 40, 320, 320) for i in range(200)))
    Image.fromarray(disc(0, 320, 320)).save("m.png")
    words = ["video", "long.mkv", "m.png", "-o", "o.mkv", "--on-interrupt", choice, *DRAW]
    words += ["--save-arguments", "t.jsonl"]
    process = subprocess.Popen(
        [*COMMAND, *words, "--preset", "veryslow"], stderr=subprocess.PIPE, text=True
    )
    # The track is written behind a buffer of some twenty lines: then frames are on their way.
    for _ in range(3000):
        if any(p.stat().st_size > 0 for p in pair.glob(".*.jsonl")):
            break
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "harmonizer: interrupted: after" in errors
    assert Path("o.mkv").exists() == (choice == "keep")
    assert Path("t.jsonl").exists() == (choice == "keep")
    if choice == "keep":
        assert 0 < len(decoded(pair / "o.mkv")) < 400
    assert not leftovers(pair)


def test_video_disk_full_leaves_nothing_and_says_so(pair: Path) -> None:
    """A limit of the file size stands for the full disk."""
    write_clip(pair / "long.mkv", (picture(i % 40, 320, 240) for i in range(60)))
    Image.fromarray(disc(0, 320, 240)).save("m.png")
    Path("o.mkv").write_bytes(b"old")
    code = (
        "import resource, sys\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "from harmonizer.cli import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    words = ["video", "long.mkv", "m.png", "-o", "o.mkv", *DRAW, "--crf", "1"]
    result = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=False
    )
    assert result.returncode == 2, result.stderr
    assert "o.mkv must be writable; File too large" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert Path("o.mkv").read_bytes() == b"old"
    assert not leftovers(pair)


def test_video_hardware_encoder_is_used_or_its_absence_said(
    pair: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["video", "c.mp4", "m.mp4", "-o", "o.mp4", "--hardware", *DRAW[:4]]
    if opens("h264_nvenc"):
        assert main(words) == 0
    else:
        assert "none of h264_nvenc" in refused(capsys, 2, *words)


def test_video_job_contradictions_are_refused() -> None:
    track = Track(("brightness",), [])
    with pytest.raises(VideoError, match="as it is"):
        Job(track=track, two_pass=True)
