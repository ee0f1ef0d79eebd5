"""Pixel formats: which ones the pipeline works in, and which one an encoder is given."""

import av
from av.codec.codec import find_best_pix_fmt_of_list

from harmonizer.video.errors import VideoError

_PLANAR = {
    "nv12": "yuv420p",
    "nv21": "yuv420p",
    "nv16": "yuv422p",
    "p010le": "yuv420p10le",
    "p210le": "yuv422p10le",
    "rgb24": "gbrp",
    "bgr24": "gbrp",
    "rgb0": "gbrp",
    "bgr0": "gbrp",
    "0rgb": "gbrp",
    "0bgr": "gbrp",
    "rgba": "gbrap",
    "bgra": "gbrap",
    "argb": "gbrap",
    "abgr": "gbrap",
    "rgb48le": "gbrp16le",
    "rgb48be": "gbrp16le",
    "rgba64le": "gbrap16le",
    "rgba64be": "gbrap16le",
}


def depth_of(format_name: str) -> int:
    """Bits of the deepest component of a pixel format."""
    return max(part.bits for part in av.VideoFormat(format_name, 16, 16).components)


def is_planar(format_name: str) -> bool:
    """Whether `planar` knows the format."""
    kind = av.VideoFormat(_PLANAR.get(format_name, format_name), 16, 16)
    parts = kind.components
    separate = len({part.plane for part in parts}) == len(parts)
    # Big-endian samples, samples in the upper bits, and floats have names of their own.
    plain = not kind.name.endswith(("be", "msble", "f16le", "f32le")) and not kind.has_palette
    return separate and plain and all(8 <= part.bits <= 16 for part in parts)


def planar(format_name: str) -> str:
    """The planar format with the same samples, in which the pipeline works.

    Raises:
        VideoError: If there is none in the list.
    """
    name = format_name.replace("yuvj", "yuv")
    if not is_planar(name):
        raise VideoError(
            "the pixel format must be planar with up to 16 bits a sample, or one of "
            f"{', '.join(_PLANAR)}; it is {format_name}. Choose another with `pixel_format`."
        )
    return _PLANAR.get(name, name)


def has_alpha_channel(name: str) -> bool:
    """Whether a pixel format has alpha."""
    return any(part.is_alpha for part in av.VideoFormat(name, 16, 16).components)


def kept_format(source: str, formats: list[str]) -> str | None:
    """The best format with the source's alpha, or in RGB like it, of an encoder that was named.

    Encoders that are taken by default get what players show.
    """
    alpha, rgb = has_alpha_channel(source), av.VideoFormat(source, 16, 16).is_rgb
    fitting = [
        name
        for name in formats
        if is_planar(name)
        and (has_alpha_channel(name) if alpha else rgb and av.VideoFormat(name, 16, 16).is_rgb)
    ]
    best = find_best_pix_fmt_of_list(fitting, source, alpha)[0] if fitting else None
    return None if best is None else best.name


def nearest_format(source: str, formats: list[str], size: tuple[int, int]) -> str:
    """The source's format if the encoder takes it, else the nearest that it takes."""
    wanted = source.replace("yuvj", "yuv")
    if not formats or (wanted in formats and not wanted.startswith("yuva")):
        return wanted
    deep, video = depth_of(source) > 8, av.VideoFormat(source, 16, 16)
    odd = bool(size[0] % 2 or size[1] % 2)
    fine = odd or "444" in wanted
    candidates = [
        "yuv444p10le" if deep and fine else "",
        "yuv422p10le" if deep and "422" in wanted else "",
        "yuv420p10le" if deep else "",
        "p010le" if deep else "",
        "yuv444p" if fine and not video.is_rgb else "",
        "yuv422p" if "422" in wanted else "",
        "yuv444p" if odd else "",
        "yuv420p",
        "nv12",
    ]
    return next((name for name in candidates if name in formats), formats[0])
