"""Clips that are something else, too large, cut short; and commands that are told to end."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from harmonizer.cli import main
from harmonizer.video.errors import VideoError
from harmonizer.video.reader import VideoReader
from harmonizer.video.sequence import find_sequence, is_pattern

pytestmark = pytest.mark.long

LOOK = '{"format": "harmonizer-arguments", "version": 1, "filters": ["brightness"], "arguments": '
LOOK += '{"brightness": 0.2}}'


def write_clip(path: Path, frames: int, size: tuple[int, int] = (64, 48)) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        for index in range(frames):
            grey = np.full((size[1], size[0], 3), 40 + index % 100, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(grey, "rgb24")))
        container.mux(stream.encode(None))
    return path


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a clip, a mask and arguments; also the working directory."""
    write_clip(tmp_path / "c.mp4", 30)
    mask = np.zeros((48, 64), np.uint8)
    mask[10:30, 10:30] = 255
    Image.fromarray(mask).save(tmp_path / "m.png")
    (tmp_path / "look.json").write_text(LOOK)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "content",
    [
        "ffconcat version 1.0\nfile '{clip}'\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:2,\n{clip}\n#EXT-X-ENDLIST\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n",
        '<?xml version="1.0"?><MPD type="static"><Period></Period></MPD>',
        ";FFMETADATA1\ntitle=x\n",
    ],
)
@pytest.mark.parametrize("suffix", [".mp4", ".m3u8", ".txt", ".sdp"])
def test_lists_of_other_files_are_refused(place: Path, content: str, suffix: str) -> None:
    path = place / f"list{suffix}"
    path.write_text(content.format(clip=place / "c.mp4"))
    with pytest.raises(VideoError, match="must be a readable video"):
        VideoReader(path)


@pytest.mark.parametrize(
    "name",
    ["concat:c.mp4|c.mp4", "subfile:,,start,0,end,0,,:c.mp4", "http://localhost:1/c.mp4", "pipe:0"],
)
def test_words_that_libav_would_take_for_protocols_are_paths(place: Path, name: str) -> None:
    with pytest.raises(VideoError, match="No such file"):
        VideoReader(name)


def test_file_of_a_name_like_a_protocol_is_read_and_written(place: Path) -> None:
    (place / "c.mp4").rename(place / "http:c.mp4")
    words = ["video", "http:c.mp4", "m.png", "-o", "file:o.mp4", "--arguments", "look.json"]
    assert main(words) == 0
    assert (place / "file:o.mp4").is_file()


@pytest.mark.parametrize("kind", ["fifo", "/dev/zero"])
def test_clip_that_is_no_file_is_refused_at_once(place: Path, kind: str) -> None:
    if kind == "fifo":
        os.mkfifo("fifo")
    with pytest.raises(VideoError, match="must be a regular file"):
        VideoReader(kind)


def test_frames_above_the_limit_are_refused_before_one_is_decoded(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_clip(place / "large.mp4", 2, (640, 480))
    words = ["video", "large.mp4", "m.png", "-o", "o.mp4", "--arguments", "look.json"]
    assert main([*words, "--max-pixels", "300000"]) == 2
    assert "at most 300,000 pixels" in capsys.readouterr().err
    words[1:3] = "c.mp4", "large.mp4"
    assert main([*words, "--max-pixels", "300000"]) == 2
    assert main([*words, "--max-pixels", "310000", "--fit-mask"]) in (0, 2)


def test_avi_that_ends_short_is_said(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_clip(place / "c.avi", 50).read_bytes()
    (place / "short.avi").write_bytes(data[: len(data) * 6 // 10])
    words = ["video", "short.avi", "m.png", "-o", "o.mkv", "--arguments", "look.json"]
    code, said = main(words), capsys.readouterr().err
    assert code == 2 or "its header promises" in said
    words[1] = "c.avi"
    assert main(words) == 0
    assert "header promises" not in capsys.readouterr().err


@pytest.mark.parametrize("text", ["1e999999999", "1e9", "9" * 400, "1/0", "nan", "25/0.5"])
def test_rate_that_is_no_plain_number_is_refused_at_once(place: Path, text: str) -> None:
    words = ["video", "c.mp4", "m.png", "-o", "o.mp4", "--rate", text]
    began = time.monotonic()
    assert main(words) == 2
    assert time.monotonic() - began < 10


def test_image_numbers_beyond_time_are_refused(tmp_path: Path) -> None:
    (tmp_path / f"{1 << 63}.png").write_bytes(b"")
    with pytest.raises(VideoError, match="image numbers up to"):
        find_sequence(tmp_path)
    assert not is_pattern("frames/%9999999999d.png")
    with pytest.raises(VideoError, match="image numbers up to"):
        find_sequence(tmp_path / "%d.png")


def running(*words: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "harmonizer.cli", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_hidden(folder: Path, process: "subprocess.Popen[str]") -> None:
    for _ in range(3000):
        if any(folder.glob(".harmonizer-*")) or process.poll() is not None:
            return
        time.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("output", ["o.mp4", "o/%03d.png"])
def test_video_that_is_told_to_end_leaves_nothing(
    place: Path, number: signal.Signals, output: str
) -> None:
    write_clip(place / "long.mp4", 3000, (320, 240))
    words = ["video", "long.mp4", "m.png", "--fit-mask", "-o", output, "--arguments", "look.json"]
    before = sorted(path.name for path in place.iterdir())
    process = running(*words)
    wait_for_hidden(place, process)
    process.send_signal(number)
    assert process.wait(60) == 130
    assert sorted(path.name for path in place.iterdir()) == before


def test_video_that_is_killed_leaves_nothing_after_the_next_run(place: Path) -> None:
    write_clip(place / "long.mp4", 3000, (320, 240))
    words = ["video", "long.mp4", "m.png", "--fit-mask", "-o", "o.mp4", "--arguments", "look.json"]
    process = running(*words)
    wait_for_hidden(place, process)
    process.kill()
    process.wait()
    assert list(place.glob(".harmonizer-*"))
    words[1] = "c.mp4"
    assert main(words) == 0
    assert not list(place.glob(".harmonizer-*")) and (place / "o.mp4").is_file()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_image_that_is_told_to_end_leaves_nothing(place: Path, number: signal.Signals) -> None:
    code = (
        "import os, signal, sys, time\n"
        "from harmonizer import storage\n"
        "from harmonizer.images import encoding\n"
        "real = storage.Temporary.settle\n"
        "def settle(self):\n"
        f"    os.kill(os.getpid(), {int(number)})\n"
        "    time.sleep(5)\n"
        "    return real(self)\n"
        "storage.Temporary.settle = settle\n"
        "from harmonizer.cli import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    Image.fromarray(np.zeros((48, 64, 3), np.uint8)).save("c.png")
    before = sorted(path.name for path in place.iterdir())
    words = ["image", "c.png", "m.png", "-o", "o.png", "--arguments", "look.json"]
    result = subprocess.run([sys.executable, "-c", code, *words], check=False, timeout=60)
    assert result.returncode == 130
    assert sorted(path.name for path in place.iterdir()) == before


def test_images_put_in_place_by_a_killed_run_are_all_there_after_the_next(place: Path) -> None:
    (place / "o").mkdir()
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "real = Path.replace\n"
        "def replace(self, target):\n"
        "    done = real(self, target)\n"
        "    if Path(target).name == '003.png' and self.parent.name.endswith('.images'):\n"
        "        if Path(target).parent.name == 'o': os.kill(os.getpid(), 9)\n"
        "    return done\n"
        "Path.replace = replace\n"
        "from harmonizer.cli import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    words = ["video", "c.mp4", "m.png", "-o", "o/%03d.png", "--arguments", "look.json"]
    result = subprocess.run([sys.executable, "-c", code, *words], check=False, timeout=120)
    assert result.returncode == -9
    assert len(list((place / "o").glob("0*.png"))) == 4
    assert main(words) == 2  # they are there now, all of them
    assert len(list((place / "o").glob("0*.png"))) == 30
    assert not list((place / "o").glob(".harmonizer-*"))
