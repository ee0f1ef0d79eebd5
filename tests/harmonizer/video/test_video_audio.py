"""Copied audio that a container cannot hold is refused before the work, and named."""

from fractions import Fraction
from pathlib import Path

import av
import pytest
from video_clips import HEIGHT, RATE, WIDTH, disc, picture, write_clip

from harmonizer.arguments import Arguments
from harmonizer.recipes import Recipe, Tools
from harmonizer.renderer import CpuRenderer
from harmonizer.video import OFF, Inputs, Job, VideoError, harmonize_video
from harmonizer.video.holding import holding
from harmonizer.video.job import Report

JOB = Job(Recipe(Arguments(("brightness",), (0.2,))), OFF)


def write_with_sound(path: Path, codec: str, kind: str) -> Path:
    """A clip of 8 frames with stereo silence."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=RATE)
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        sound = container.add_stream(codec, rate=48000)
        sound.format, sound.layout = kind, "stereo"  # type: ignore[assignment]
        for index in range(8):
            frame = av.VideoFrame.from_ndarray(picture(index), "rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = index, Fraction(1, RATE)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        size = sound.codec_context.frame_size or 1024
        for start in range(0, 48000 * 8 // RATE, size):
            audio = av.AudioFrame(format=kind, layout="stereo", samples=size)
            for plane in audio.planes:
                plane.update(bytes(plane.buffer_size))
            audio.sample_rate, audio.pts = 48000, start
            container.mux(sound.encode(audio))
        container.mux(sound.encode(None))
    return path


@pytest.fixture
def mask(tmp_path: Path) -> Path:
    return write_clip(tmp_path / "m.mp4", map(disc, range(8)))


def run(composite: Path, mask: Path, output: Path) -> Report:
    return harmonize_video(Tools(CpuRenderer(1)), Inputs(composite, mask), output, JOB)


@pytest.mark.parametrize(
    ("codec", "kind", "suffixes"),
    [
        ("libopus", "s16", (".mov", ".m4v", ".avi")),
        ("flac", "s16", (".mov", ".webm", ".ts")),
        ("pcm_s24le", "s32", (".mp4", ".m4v", ".webm", ".ts")),
        ("pcm_f32le", "flt", (".mp4",)),
        ("alac", "s16p", (".avi",)),
    ],
)
def test_audio_that_the_container_cannot_hold_is_named(
    codec: str, kind: str, suffixes: tuple[str, ...], tmp_path: Path, mask: Path
) -> None:
    composite = write_with_sound(tmp_path / "c.mkv", codec, kind)
    name = codec.removeprefix("lib")
    for suffix in suffixes:
        output = tmp_path / f"o{suffix}"
        with pytest.raises(VideoError, match=rf"audio stream \({name}\).*leave 'audio' out of"):
            run(composite, mask, output)
        assert sorted(p.name for p in tmp_path.iterdir()) == ["c.mkv", "m.mp4"]
    assert run(composite, mask, tmp_path / "o.mkv").frames == 8


@pytest.mark.parametrize(
    ("codec", "kind", "suffix"),
    [
        ("libopus", "s16", ".mp4"),
        ("aac", "fltp", ".mov"),
        ("aac", "fltp", ".ts"),
        ("pcm_s16le", "s16", ".mov"),
        ("libmp3lame", "fltp", ".avi"),
        ("ac3", "fltp", ".mp4"),
    ],
)
def test_audio_that_the_container_holds_is_copied(
    codec: str, kind: str, suffix: str, tmp_path: Path, mask: Path
) -> None:
    composite = write_with_sound(tmp_path / "c.mkv", codec, kind)
    output = tmp_path / f"o{suffix}"
    run(composite, mask, output)
    with av.open(str(output)) as container:
        assert len(container.streams.audio) == 1
        assert sum(packet.size for packet in container.demux(audio=0)) > 0


def test_remedy_follows_the_cause() -> None:
    for error, remedy in (
        (OSError(28, "No space left on device"), "disk has room"),
        (PermissionError(13, "Permission denied"), "may write there"),
        (av.error.ArgumentError(22, "Invalid argument"), "does not take these streams"),
    ):
        with (
            pytest.raises(VideoError, match=rf"o.mp4 must be writable; .*{remedy}"),
            holding("o.mp4", "mp4", "must be writable", None),
        ):
            raise error
