"""Choose an encoder for an output file, and refuse what cannot be written before any work."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av

from harmonizer.video.errors import VideoError, translated
from harmonizer.video.formats import (
    depth_of,
    has_alpha_channel,
    kept_format,
    nearest_format,
    planar,
)

SUFFIXES = {
    ".mp4": "libx264",
    ".m4v": "libx264",
    ".mov": "libx264",
    ".mkv": "libx264",
    ".webm": "libvpx-vp9",
    ".avi": "mpeg4",
    ".ts": "libx264",
}
"""Output suffixes and the encoder that each gets by default for 8 bits."""

_DEEP = {"libx264": "libx265"}
"""Encoders for more than 8 bits: players rarely decode H.264 above 8."""

_QUALITY = {
    "libx264": ("crf", 18),
    "libx264rgb": ("crf", 18),
    "libx265": ("crf", 20),
    "libvpx-vp9": ("crf", 24),
    "libsvtav1": ("crf", 24),
    "h264_nvenc": ("cq", 19),
    "hevc_nvenc": ("cq", 21),
    "av1_nvenc": ("cq", 26),
    "h264_qsv": ("global_quality", 20),
    "hevc_qsv": ("global_quality", 22),
    "av1_qsv": ("global_quality", 24),
    "mpeg4": ("q:v", 3),
}
"""The option that `crf` sets, and its default: little visible loss."""

_WORST = {"libx264": 51, "libx264rgb": 51, "libx265": 51, "libvpx-vp9": 63, "libsvtav1": 63}
"""The largest `crf` of software encoders, which would take more for it without a word."""

_EXTRA = {
    "libvpx-vp9": {"b": "0", "row-mt": "1", "deadline": "good", "cpu-used": "4"},
    "h264_nvenc": {"rc": "vbr", "b": "0"},
    "hevc_nvenc": {"rc": "vbr", "b": "0"},
    "av1_nvenc": {"rc": "vbr", "b": "0"},
    "libx265": {"x265-params": "log-level=error"},
}

_SILENT = {"mpegts"}
"""Containers of which libav cannot say what they hold; the muxer itself refuses."""

_INTERLACED = {"libx264": "+ildct+ilme", "mpeg2video": "+ildct+ilme", "prores_ks": "+ildct"}
"""Encoders that code fields, and the flags with which they do."""

_HARDWARE = {
    "libx264": ("h264_nvenc", "h264_qsv", "h264_amf", "h264_videotoolbox"),
    "libx265": ("hevc_nvenc", "hevc_qsv", "hevc_amf", "hevc_videotoolbox"),
    "libvpx-vp9": ("av1_nvenc", "av1_qsv", "av1_amf"),
}


@dataclass(frozen=True, slots=True)
class Encoding:
    """How the output is encoded; None is the default for the file and the input.

    Attributes:
        codec: Name of a libav encoder, such as "libx264".
        crf: Constant quality, in the encoder's own unit; lower is better.
        preset: The encoder's own speed preset.
        pixel_format: libav's name, such as "yuv420p"; None for the input's, if the encoder has it.
        hardware: Take a hardware encoder that works here.
        options: More options of the encoder, by libav's names.
        depth: Bits a channel of an image sequence, 8 or 16; None for the input's.
    """

    codec: str | None = None
    crf: float | None = None
    preset: str | None = None
    pixel_format: str | None = None
    hardware: bool = False
    options: Mapping[str, str] = field(default_factory=dict)
    depth: int | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """What was chosen.

    Attributes:
        codec: The encoder.
        pixel_format: What the encoder is given.
        working_format: Planar, same samples: what the pipeline works in.
        options: For the encoder.
        captions: Whether closed captions are written.
        notes: What a person should know.
    """

    codec: str
    pixel_format: str
    working_format: str
    options: dict[str, str]
    captions: bool = False
    notes: tuple[str, ...] = ()


def choose(
    path: Path,
    source_format: str,
    encoding: Encoding,
    size: tuple[int, int],
    interlaced: bool = False,
) -> Choice:
    """Choose encoder and pixel format for an output.

    Args:
        path: Output; the suffix names the container.
        source_format: Pixel format of the input.
        encoding: What was asked for.
        size: (height, width).
        interlaced: Whether the input's frames are made of two fields.

    Raises:
        VideoError: If the suffix, codec, pixel format or an option is not possible.
    """
    suffix = path.suffix.lower()
    if encoding.depth is not None:
        raise VideoError(
            f"`depth` is for sequences of images; {path} is a video. Choose a `pixel_format`."
        )
    if suffix not in SUFFIXES:
        raise VideoError(
            f"{path} must end in one of {', '.join(SUFFIXES)}, or be a pattern such as "
            "frames/%05d.png; "
            f"{f'it ends in {suffix}' if suffix else 'it has no suffix'}. Rename the output."
        )
    notes: list[str] = []
    default = SUFFIXES[suffix]
    if depth_of(source_format) > 8 and encoding.pixel_format is None:
        default = _DEEP.get(default, default)
    codec = encoding.codec or default
    if encoding.hardware:
        codec = _working_hardware(codec, default)
        notes.append(f"encoding with {codec}")
    if codec == "libsvtav1":
        # Else it writes a page of settings to stderr.
        os.environ.setdefault("SVT_LOG", "1")
    encoder = _open_codec(codec)
    formats = [f.name for f in encoder.video_formats or ()]
    # x265 is rarely built with alpha, and players do not know HEVC in RGB.
    named = encoding.codec is not None and codec != "libx265"
    wanted = kept_format(source_format, formats) if named else None
    if codec == "libvpx-vp9" and wanted is None and has_alpha_channel(source_format):
        wanted = "yuva420p"
    pixel_format = encoding.pixel_format or wanted or nearest_format(source_format, formats, size)
    if formats and pixel_format not in formats:
        raise VideoError(
            f"`pixel_format` must be one that {codec} takes ({', '.join(formats)}); got "
            f"{pixel_format}. Choose another, or another `codec`."
        )
    before = source_format.replace("yuvj", "yuv")
    if encoding.pixel_format is None and planar(pixel_format) not in (before, planar(before)):
        loss = (
            " without its alpha"
            if has_alpha_channel(before) and not has_alpha_channel(pixel_format)
            else ""
        )
        notes.append(f"{source_format} is converted to {pixel_format}{loss}, which {codec} takes")
    _check_size(pixel_format, size, codec)
    options = dict(_EXTRA.get(codec, {}))
    captions = "a53cc" in _private_options(codec)
    if captions:
        options["a53cc"] = "1"
    if interlaced:
        # Fields of a 4:2:0 picture have whole rows of chroma where the height is a multiple of 4.
        if codec in _INTERLACED and size[0] % 4 == 0:
            options["flags"] = _INTERLACED[codec]
        else:
            notes.append("the input is interlaced; the output says progressive")
    options |= _quality_options(codec, encoding)
    options |= {key: str(value) for key, value in encoding.options.items()}
    return Choice(codec, pixel_format, planar(pixel_format), options, captions, tuple(notes))


def _open_codec(name: str) -> Any:
    try:
        codec = av.Codec(name, "w")
    except (ValueError, av.FFmpegError) as error:
        raise VideoError(
            f"`codec` must be an encoder of this PyAV ({av.__version__}); {name!r} is none. "
            "libx264, libx265, libvpx-vp9, libsvtav1, prores_ks and ffv1 usually are."
        ) from error
    if codec.type != "video":
        raise VideoError(f"`codec` must be a video encoder; {name} is for {codec.type}.")
    return codec


def _check_size(pixel_format: str, size: tuple[int, int], codec: str) -> None:
    """Chroma subsampling needs even sizes in most encoders."""
    part = av.VideoFormat(pixel_format, 16, 16)
    halves = (part.chroma_height() < 16, part.chroma_width() < 16)
    for name, length, halved in zip(("height", "width"), size, halves, strict=True):
        if halved and length % 2 and codec.startswith(("libx26", "h264", "hevc")):
            raise VideoError(
                f"the {name} must be even for {pixel_format} in {codec}; it is {length}. Pass "
                "`pixel_format='yuv444p'`, or scale the video."
            )


def _quality_options(codec: str, encoding: Encoding) -> dict[str, str]:
    options: dict[str, str] = {}
    name, default = _QUALITY.get(codec, (None, None))
    said = (("crf", name, encoding.crf), ("preset", "preset", encoding.preset))
    for field_name, option, value in said:
        if value is None or option is None or option not in encoding.options:
            continue
        given = f"{value:g}" if isinstance(value, float) else str(value)
        if given != encoding.options[option]:
            raise VideoError(
                f"the encoder's {option} must be given once; got `{field_name}` {value} and "
                f"{encoding.options[option]} in `options`. Leave one out."
            )
    if encoding.crf is not None and name is None:
        raise VideoError(
            f"`crf` must go with an encoder that has such a scale ({', '.join(_QUALITY)}); {codec} "
            "has none. Leave it out, or use `options`."
        )
    worst = _WORST.get(codec)
    if encoding.crf is not None and worst is not None and not 0 <= encoding.crf <= worst:
        raise VideoError(
            f"`crf` must lie in [0, {worst}] for {codec}; got {encoding.crf:g}. Lower is better; "
            f"{default:g} is the default."
        )
    if name == "q:v":
        # libav's own encoders take the quality in units of FF_QP2LAMBDA, 118, with a flag.
        quality = encoding.crf if encoding.crf is not None else default
        options |= {"flags": "+qscale", "global_quality": str(int(118 * float(quality or 0)))}
    elif name is not None:
        options[name] = f"{encoding.crf if encoding.crf is not None else default:g}"
    if encoding.preset is not None:
        if "preset" not in _private_options(codec):
            raise VideoError(
                f"`preset` must go with an encoder that has presets; {codec} has none. Leave it "
                "out, or use `options`."
            )
        options["preset"] = encoding.preset
    return options


def _private_options(codec: str) -> set[str]:
    context: Any = av.CodecContext.create(codec, "w")
    return {option.name for option in context.supported_options.private}


def _working_hardware(codec: str, default: str) -> str:
    """The first hardware encoder of the codec's kind that opens here."""
    kin = {name: family for family in _HARDWARE.values() for name in family}
    candidates = kin.get(codec) or _HARDWARE.get(codec) or _HARDWARE.get(default, ())
    for name in candidates:
        if opens(name):
            return name
    raise VideoError(
        "`hardware` must find a hardware encoder that works here; none of "
        f"{', '.join(candidates) or 'the known ones'} opens. Leave `hardware` out."
    )


def opens(name: str) -> bool:
    """Whether an encoder exists and opens on this machine."""
    try:
        context: Any = av.CodecContext.create(name, "w")
        context.width, context.height = 256, 256
        context.pix_fmt = context.codec.video_formats[0].name
        context.framerate = 25
        context.open()
    except (av.FFmpegError, ValueError, TypeError):
        return False
    return True


def check_container(path: Path, container: Any, codec: str) -> None:
    """Refuse a codec that the container cannot hold.

    Raises:
        VideoError: If it cannot.
    """
    if container.format.name in _SILENT:
        return
    if codec not in container.supported_codecs:
        raise VideoError(
            f"{path} must be of a kind that can hold {codec}; {container.format.name} cannot. "
            "Write .mkv, which holds nearly everything, or choose another `codec`."
        )


def open_encoder(path: Path, context: Any, choice: Choice) -> None:
    """Open a codec context, so that errors come before any frame is read.

    Raises:
        VideoError: If the encoder refuses its settings, or does not know an option.
    """
    settings = ", ".join(f"{key}={value}" for key, value in choice.options.items())
    rule = f"must be encodable with {choice.codec} {choice.pixel_format} ({settings})"
    with translated(path, rule, "Change `codec`, `preset`, `pixel_format` or `options`."):
        context.open()
    if context.options:
        raise VideoError(
            f"`options` must be known to {choice.codec}; it does not know "
            f"{', '.join(context.options)}. Leave it out."
        )
