"""Peak memory of commands in processes of their own, against what `harmonizer.limits` promises."""

import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from imagecodecs import cms_profile
from numpy.typing import NDArray
from PIL import Image

from harmonizer.images.files import FORMATS
from harmonizer.limits import (
    BYTES_PER_PIXEL,
    FIXED_BYTES,
    FLOAT_BYTES_PER_PIXEL,
    FRAME_BYTES_PER_PIXEL,
)

LOOK = '{"format": "harmonizer-arguments", "version": 1, "filters": ["brightness", "shadow"], '
LOOK += '"arguments": {"brightness": 0.3, "shadow": 0.2}}'

_MEASURE = """
import sys
sys.path.insert(0, sys.argv.pop(1))
from peak import forget, peak_bytes
from harmonizer import _native
from harmonizer.cli import main
import harmonizer.cli.batch, harmonizer.cli.image, harmonizer.cli.video, harmonizer.video
import harmonizer.images.decoding, harmonizer.images.encoding, harmonizer.renderer
import imagecodecs, tqdm
from PIL import Image, JpegImagePlugin, PngImagePlugin, WebPImagePlugin
_native.load_library()
forget()
before = peak_bytes()
code = main(sys.argv[1:])
print()
print(peak_bytes() - before, code)
"""


@dataclass(frozen=True)
class Peak:
    """One measurement.

    Attributes:
        name: What was done.
        pixels: Of the limit that was given.
        peak: Bytes above those of the imported package.
        promised: The bound.
    """

    name: str
    pixels: int
    peak: int
    promised: int

    @property
    def kept(self) -> bool:
        """Whether it keeps the bound."""
        return self.peak <= self.promised


def measure(folder: Path, *words: str) -> tuple[int, int]:
    """Bytes above the imports', and the command's exit code."""
    result = subprocess.run(
        [sys.executable, "-c", _MEASURE, str(Path(__file__).resolve().parent), *words],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    if result.returncode:
        raise RuntimeError(result.stderr[-2000:])
    peak, code = result.stdout.split()[-2:]
    return int(peak), int(code)


_D65 = (0.3127, 0.3290, 1.0)
_P3 = (0.68, 0.32, 1.0, 0.265, 0.69, 1.0, 0.15, 0.06, 1.0)


def image_files(folder: Path, side: int, only: str = "") -> list[str]:
    """Write pictures of each form, side by side pixels, as costly as each can be; their names.

    Args:
        folder: Where.
        side: Of each.
        only: The name of one; empty for all.
    """
    dice = np.random.default_rng(2)
    small = dice.integers(0, 256, (side // 8, side // 8, 4), np.uint8)
    eight = np.asarray(Image.fromarray(small).resize((side, side)))
    deep = dice.integers(0, 65536, (side, side, 6), np.uint16)
    unit = (eight / np.float32(255)).astype(np.float32)
    wide = cms_profile("rgb", whitepoint=_D65, primaries=_P3, gamma=2.2)
    four, rgb = Image.fromarray(eight), Image.fromarray(eight[..., :3])
    samples: dict[str, Any] = {
        "photometric": "rgb",
        "extrasamples": [2, 0, 0],
        "rowsperstrip": side,
    }
    writers: dict[str, Callable[[Path], object]] = {
        "rgb.jpg": lambda path: rgb.save(path, quality=95),
        "progressive.jpg": lambda path: rgb.save(path, progressive=True),
        "rgba.png": lambda path: four.save(path, compress_level=1),
        "rgba.webp": lambda path: four.save(path, lossless=True, method=0),
        "rgba.avif": lambda path: four.save(path, quality=60, speed=10),
        "rgb.bmp": lambda path: rgb.save(path),
        "p3.png": lambda path: four.save(path, compress_level=1, icc_profile=wide),
        "deep.png": lambda path: path.write_bytes(
            imagecodecs.png_encode(np.ascontiguousarray(deep[..., :4]), level=1)
        ),
        "floats.tif": lambda path: tifffile.imwrite(
            path, unit, photometric="rgb", extrasamples=[2]
        ),
        "six.tif": lambda path: tifffile.imwrite(path, deep, **samples),
        "packed.tif": lambda path: tifffile.imwrite(path, deep, compression="zlib", **samples),
    }
    with contextlib.suppress(ImportError):  # of an extra
        import pillow_heif

        writers["rgb.heic"] = lambda path: pillow_heif.from_pillow(rgb).save(path)
    with contextlib.suppress(ImportError):  # of an extra
        import OpenImageIO  # noqa: F401

        writers["rgba.jxl"] = lambda path: _write_studio(path, eight)
        writers["deep.jxl"] = lambda path: _write_studio(path, deep[..., :4])
        writers["floats.exr"] = lambda path: _write_studio(path, unit)
    names = [name for name in writers if only in ("", name)]
    for name in names:
        writers[name](folder / name)
    return names


def _write_studio(path: Path, pixels: NDArray[Any]) -> None:
    import OpenImageIO

    height, width, channels = pixels.shape
    kind = pixels.dtype.name.replace("32", "")
    spec = OpenImageIO.ImageSpec(width, height, channels, kind)
    spec.attribute("compression", "none" if path.suffix == ".exr" else "jpegxl:90")
    output = OpenImageIO.ImageOutput.create(str(path))
    if output is None or not output.open(str(path), spec):
        raise RuntimeError(OpenImageIO.geterror())
    output.write_image(np.ascontiguousarray(pixels))
    output.close()


def image_peaks(side: int, only: str = "") -> list[Peak]:
    """`harmonizer image` on every form, composite and mask alike, with the tightest limit.

    Args:
        side: Of the pictures.
        only: The name of one form; empty for all.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "look.json").write_text(LOOK)
        peaks = []
        for composite in image_files(folder, side, only):
            mask = f"mask-{composite}"
            (folder / mask).write_bytes((folder / composite).read_bytes())
            suffix = Path(composite).suffix
            suffix = suffix if suffix in FORMATS else ".png"
            words = ["image", composite, mask, "-o", f"out{suffix}", "--arguments", "look.json"]
            peak, code = measure(folder, *words, "--max-pixels", str(side * side))
            if code:
                raise RuntimeError(f"{composite} was refused")
            promised = _promised(composite, side)
            peaks.append(Peak(f"image {composite}", side * side, peak, promised))
        return peaks


def _promised(composite: str, side: int) -> int:
    each = FLOAT_BYTES_PER_PIXEL if "floats" in composite else BYTES_PER_PIXEL
    return each * side * side + FIXED_BYTES


def batch_peak(side: int, composite: str = "deep.png") -> Peak:
    """`harmonizer batch` with four workers on images of the limit's size, as composite and mask."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "look.json").write_text(LOOK)
        image_files(folder, side, composite)
        data = (folder / composite).read_bytes()
        for place in ("composites", "masks"):
            (folder / place).mkdir()
            for index in range(8):
                (folder / place / f"{index}{Path(composite).suffix}").write_bytes(data)
        words = ["batch", "composites", "masks", "-o", "out", "--jobs", "4"]
        words += ["--arguments", "look.json"]
        peak, code = measure(folder, *words, "--max-pixels", str(side * side))
        if code:
            raise RuntimeError("the batch failed")
        promised = _promised(composite, side)
        return Peak(f"batch of {composite}, 4 workers", side * side, peak, promised)


def video_peak(width: int, height: int) -> Peak:
    """`harmonizer video` on a few frames of a size."""
    import av

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "look.json").write_text(LOOK)
        grain = np.random.default_rng(5).integers(0, 256, (height, width, 3), np.uint8)
        mask = np.full((height, width), 255, np.uint8)
        Image.fromarray(mask).save(folder / "m.png")
        with av.open(str(folder / "c.mp4"), "w") as container:
            stream = container.add_stream("mpeg4", rate=25)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            for index in range(24):
                frame = av.VideoFrame.from_ndarray(np.roll(grain, index, 0), "rgb24")
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        words = ["video", "c.mp4", "m.png", "-o", "o.mp4", "--arguments", "look.json"]
        words += ["--preset", "ultrafast"]
        peak, code = measure(folder, *words)
        if code:
            raise RuntimeError("the video failed")
        pixels = width * height
        return Peak("video", pixels, peak, FRAME_BYTES_PER_PIXEL * pixels + FIXED_BYTES)


def table(peaks: list[Peak]) -> list[dict[str, object]]:
    """For the report."""
    return [json.loads(json.dumps(vars(peak) | {"kept": peak.kept})) for peak in peaks]
