"""Tiny clips that the video tests make themselves, and what they read back."""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import skimage.data
from numpy.typing import NDArray

from harmonizer.video.libav import open_container
from harmonizer.video.planes import views

WIDTH, HEIGHT, RATE = 64, 48, 25
LOSSLESS = {"crf": "0", "preset": "ultrafast"}


def picture(index: int, width: int = WIDTH, height: int = HEIGHT) -> NDArray[np.uint8]:
    """Part of a photograph that moves by two pixels a frame."""
    photo = skimage.data.astronaut()
    left = 100 + 2 * index % 200
    return np.ascontiguousarray(photo[60 : 60 + height, left : left + width])


def disc(index: int, width: int = WIDTH, height: int = HEIGHT) -> NDArray[np.uint8]:
    """A mask with a soft edge that moves to the right."""
    y, x = np.mgrid[:height, :width]
    distance = np.hypot(y - height / 2, x - (width / 3 + index % 20))
    return np.clip((height / 4 - distance) * 128 + 128, 0, 255).astype(np.uint8)


def write_clip(
    path: Path,
    frames: Iterable[NDArray[Any]],
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    rate: int = RATE,
    times: Sequence[int] | None = None,
    time_base: Fraction | None = None,
    options: dict[str, str] | None = None,
    tags: tuple[int, int, int, int] = (1, 1, 1, 1),
    aspect: Fraction | None = None,
    turn: int = 0,
    audio: bool = False,
    metadata: dict[str, str] | None = None,
) -> Path:
    """Write RGB (H, W, 3) or grey (H, W) arrays, lossless by default.

    `tags` are matrix, range, primaries and transfer; `times` are in units of `time_base`.
    """
    frames = list(frames)
    matrix, span, primaries, transfer = tags
    with av.open(str(path), "w") as container:
        container.metadata.update(metadata or {})
        if options is None:
            options = dict(LOSSLESS) if codec == "libx264" else {}
        stream = container.add_stream(codec, rate=rate, options=options)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pixel_format
        context = stream.codec_context
        context.colorspace, context.color_range = matrix, span
        context.color_primaries, context.color_trc = primaries, transfer
        if time_base is not None:
            context.time_base = time_base
        if aspect is not None:
            context.sample_aspect_ratio = aspect
        if turn:
            stream.set_display_rotation(turn)
        sound = container.add_stream("aac", rate=8000) if audio else None
        for index, array in enumerate(frames):
            kind = {(2, 1): "gray", (3, 1): "rgb24", (3, 2): "rgb48le"}
            depth = array.shape[2] if array.ndim == 3 else 0
            name = "rgba" if depth == 4 else kind[array.ndim, array.itemsize]
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(array), name)
            if frame.format.name != pixel_format:
                frame = frame.reformat(
                    format=pixel_format,
                    dst_colorspace=9 if matrix == 9 else (5 if matrix in (5, 6) else 1),
                    src_color_range=2,
                    dst_color_range=span or 1,
                )
            frame.pts = index if times is None else times[index]
            frame.time_base = time_base or Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if sound is not None:
            write_tone(container, sound, len(frames) / rate)
    return path


def write_tone(container: Any, stream: Any, seconds: float) -> None:
    """A soft tone, as an audio stream."""
    wave = np.sin(np.arange(int(8000 * seconds)) * 0.3) * 0.1
    for start in range(0, len(wave), 1024):
        part = wave[None, start : start + 1024].astype(np.float32)
        frame = av.AudioFrame.from_ndarray(part, "fltp", "mono")
        frame.sample_rate, frame.pts = 8000, start
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def write_pair(folder: Path, count: int = 8, **settings: Any) -> tuple[Path, Path]:
    """c.mp4 and its mask m.mp4."""
    composite = write_clip(folder / "c.mp4", map(picture, range(count)), **settings)
    mask = write_clip(folder / "m.mp4", map(disc, range(count)))
    return composite, mask


def decoded(path: Path) -> list[Any]:
    """All frames of a file."""
    with open_container(path, "r") as container:
        return list(container.decode(video=0))


def samples(frame: Any) -> list[NDArray[Any]]:
    """A frame's planes."""
    return [plane.copy() for plane in views(frame)]


def assert_same_frames(one: Path, other: Path) -> None:
    """Both files hold the same frames, sample by sample."""
    frames, others = decoded(one), decoded(other)
    assert len(frames) == len(others)
    for frame, another in zip(frames, others, strict=True):
        for plane, same in zip(samples(frame), samples(another), strict=True):
            np.testing.assert_array_equal(plane, same)
