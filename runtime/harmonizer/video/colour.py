"""Pixel formats and colours: YUV to RGB and back by libswscale, with matrix and range explicit.

The filters run on R'G'B' as displayed. Which YUV stands for which RGB depends on the matrix
(BT.601, BT.709, BT.2020 non-constant luminance, SMPTE 240M, FCC) and on the range (limited: 16..235
of 8 bits; full: 0..255), which the stream's tags say (ITU-T H.273, tables 4 and 8.3). The tags are
carried through as they are; where a stream has none, the matrix is guessed for the conversion.
"""

from dataclasses import dataclass
from typing import Any

import av
import numpy as np
from av.video.reformatter import Colorspace, Interpolation, VideoReformatter
from numpy.typing import NDArray

from harmonizer.images.code_points import SRGB_CURVE, by_code
from harmonizer.images.colour import Colours
from harmonizer.video.errors import VideoError
from harmonizer.video.formats import depth_of
from harmonizer.video.planes import plane_array, views

Array = NDArray[Any]

UNSPECIFIED = 2
"""H.273's code for "not said", for matrix, primaries and transfer."""

LIMITED, FULL = 1, 2
"""libav's codes of the two ranges; 0 is "not said"."""

_MATRICES = {
    1: Colorspace.ITU709,
    4: Colorspace.FCC,
    5: Colorspace.ITU601,
    6: Colorspace.ITU601,
    7: Colorspace.SMPTE240M,
    9: Colorspace.BT2020,
}
_UNSUPPORTED = {8: "YCgCo", 10: "BT.2020 constant luminance", 14: "ICtCp"}

_HD_HEIGHT = 720
"""Untagged video of this height or more is BT.709 to every player, below it BT.601."""

WIDE_PRIMARIES = {9: "BT.2020", 11: "DCI-P3", 12: "Display P3"}
"""Colour primaries in H.273's codes that are not those of sRGB and BT.709, nor near them."""

HDR_TRANSFERS = {16: "PQ (SMPTE ST 2084)", 18: "HLG (ARIB STD-B67)"}

# Full chroma interpolation and accurate rounding: without them libswscale's fast paths darken luma
# by one level on average (measured 0.998 there and back; 0.001 with them).
_TO_RGB = int(Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT)
_DEEP = int(Interpolation.BILINEAR | Interpolation.ACCURATE_RND)
_FROM_RGB = int(Interpolation.AREA | Interpolation.ACCURATE_RND)


@dataclass(frozen=True, slots=True)
class Colour:
    """The colour tags of a stream, in the codes of H.273 and libav.

    Attributes:
        matrix, primaries, transfer: 2 where the stream does not say.
        range: 1 limited, 2 full.
    """

    matrix: int = UNSPECIFIED
    range: int = LIMITED
    primaries: int = UNSPECIFIED
    transfer: int = UNSPECIFIED


def colour_of(frame: av.VideoFrame) -> Colour:
    """The tags of a frame; a range that is not said is the format's usual one.

    Raises:
        VideoError: If the matrix is one that libswscale does not convert.
    """
    name = frame.format.name
    matrix = UNSPECIFIED if frame.format.is_rgb else int(frame.colorspace)
    if matrix in _UNSUPPORTED:
        raise VideoError(
            "the video's colour matrix must be BT.601, BT.709 or BT.2020 (non-constant luminance); "
            f"it is {_UNSUPPORTED[matrix]}. Convert the video to one of them first."
        )
    full = frame.format.is_rgb or name.startswith(("yuvj", "gray", "ya"))
    usual = FULL if full else LIMITED
    return Colour(
        matrix, int(frame.color_range) or usual, int(frame.color_primaries), int(frame.color_trc)
    )


def wide_colours(colour: Colour) -> Colours | None:
    """Colours other than sRGB's that the tags state; None for those near them, and for HDR.

    The values count as encoded by sRGB's curve, as those of BT.709's primaries do.
    """
    if colour.primaries not in WIDE_PRIMARIES or colour.transfer in HDR_TRANSFERS:
        return None
    stated = by_code(colour.primaries, SRGB_CURVE, "tags")
    return None if stated is None else Colours(stated.profile, WIDE_PRIMARIES[colour.primaries])


def is_guessed(colour: Colour, frame: av.VideoFrame) -> bool:
    """Whether the matrix of a YUV frame is not said, so that the conversion guesses it."""
    return not frame.format.is_rgb and colour.matrix not in _MATRICES


def matrix_of(colour: Colour, height: int) -> Colorspace:
    """libswscale's matrix for the tags; guessed from the height where they do not say."""
    guess = Colorspace.ITU709 if height >= _HD_HEIGHT else Colorspace.ITU601
    return _MATRICES.get(colour.matrix, guess)


class Converter:
    """Conversions with reused libswscale contexts; one object for one thread.

    Args:
        threads: Threads of one conversion.
    """

    def __init__(self, threads: int = 1) -> None:
        self._threads = threads
        self._to_rgb = VideoReformatter()
        self._from_rgb = VideoReformatter()
        self._other = VideoReformatter()

    def to_rgb(self, frame: av.VideoFrame, colour: Colour) -> Array:
        """Convert a frame to R'G'B'.

        Returns:
            (H, W, 3), writable, with memory of its own: uint8 for up to 8 bits, uint16 (65535
            stands for 1) above.
        """
        if max(part.bits for part in frame.format.components) > 8:
            return self._to_rgb16(frame, colour)
        rgb = self._convert(self._to_rgb, frame, "rgb24", colour, colour.range, FULL, frame.height)
        plane = rgb.planes[0]
        rows = plane_array(plane, False).reshape(rgb.height, plane.line_size)
        pixels: Array = rows[:, : 3 * rgb.width].reshape(rgb.height, rgb.width, 3)
        return pixels

    def from_rgb(
        self, rgb: Array, format_name: str, colour: Colour, height: int | None = None
    ) -> av.VideoFrame:
        """Convert R'G'B' to a planar pixel format; alpha, if it has any, stays undefined.

        Args:
            rgb: (H, W, 3) uint8 or uint16; may be a part of a larger array.
            format_name: Of the result.
            colour: Of the result.
            height: Of the whole picture, where `rgb` is a part of it.
        """
        whole = height or rgb.shape[0]
        if rgb.dtype == np.uint16:
            return self._from_rgb16(rgb, format_name, colour, whole)
        frame = av.VideoFrame.from_numpy_buffer(rgb, "rgb24")
        return self._convert(
            self._from_rgb, frame, format_name, colour, FULL, colour.range, whole, _FROM_RGB
        )

    def _to_rgb16(self, frame: av.VideoFrame, colour: Colour) -> Array:
        bits = frame.format.components[0].bits
        if frame.format.is_rgb:
            if len(frame.planes) < 3:
                frame = self._other.reformat(frame, format="gbrp16le")
            planes = [_widened(plane, bits) for plane in views(frame)[:3]]
        else:
            # Not to rgb48: libswscale's full chroma interpolation gives wrong colours there.
            planar = self._convert(
                self._to_rgb, frame, "gbrp16le", colour, colour.range, FULL, frame.height, _DEEP
            )
            # Its white is 255 * 256 there, not 65535.
            planes = [np.minimum(plane, 65280) for plane in views(planar)]
            planes = [plane + (plane >> 8) for plane in planes]
        green, blue, red = planes
        return np.stack([red, green, blue], axis=2)

    def _from_rgb16(
        self, rgb: Array, format_name: str, colour: Colour, height: int
    ) -> av.VideoFrame:
        target = av.VideoFormat(format_name, 16, 16)
        bits = target.components[0].bits
        name = format_name if target.is_rgb else "gbrp16le"
        frame = av.VideoFrame(rgb.shape[1], rgb.shape[0], name)
        for plane, channel in zip(views(frame), (1, 2, 0), strict=False):
            values = rgb[..., channel]
            if target.is_rgb:
                plane[:] = _narrowed(values, bits)
            else:
                plane[:] = values - (values >> 8)
        if target.is_rgb:
            return frame
        return self._convert(
            self._from_rgb, frame, format_name, colour, FULL, colour.range, height, _FROM_RGB
        )

    def _convert(
        self,
        context: VideoReformatter,
        frame: av.VideoFrame,
        format_name: str,
        colour: Colour,
        before: int,
        after: int,
        height: int,
        flags: int = _TO_RGB,
    ) -> av.VideoFrame:
        matrix = matrix_of(colour, height)
        return context.reformat(
            frame,
            format=format_name,
            src_colorspace=matrix,
            dst_colorspace=matrix,
            src_color_range=before,
            dst_color_range=after,
            interpolation=flags,
            threads=self._threads,
        )

    def to_format(
        self, frame: av.VideoFrame, colour: Colour, format_name: str, wanted: Colour
    ) -> av.VideoFrame:
        """Convert a frame to another pixel format, matrix or range; size and time stay.

        A frame that needs none is returned itself.
        """
        name = frame.format.name.replace("yuvj", "yuv")
        same = matrix_of(colour, frame.height) == matrix_of(wanted, frame.height)
        if name == format_name and (frame.format.is_rgb or same) and colour.range == wanted.range:
            return frame
        crosses = frame.format.is_rgb != av.VideoFormat(format_name, 16, 16).is_rgb
        if crosses and max(depth_of(name), depth_of(format_name)) > 8:
            converted = self._through_rgb16(frame, colour, format_name, wanted)
        else:
            converted = self._other.reformat(
                frame,
                format=format_name,
                src_colorspace=matrix_of(colour, frame.height),
                dst_colorspace=matrix_of(wanted, frame.height),
                src_color_range=colour.range,
                dst_color_range=wanted.range,
                interpolation=_TO_RGB | int(Interpolation.FULL_CHR_H_INP),
                threads=self._threads,
            )
        converted.pts = frame.pts
        if frame.time_base is not None:
            converted.time_base = frame.time_base
        return converted

    def _through_rgb16(
        self, frame: av.VideoFrame, colour: Colour, format_name: str, wanted: Colour
    ) -> av.VideoFrame:
        """Between YUV and RGB of more than 8 bits, where libswscale's white is 255 * 256."""
        rgb = self.to_rgb(frame, colour)
        if rgb.dtype == np.uint8:
            rgb = rgb.astype(np.uint16) * np.uint16(257)
        converted = self._from_rgb16(rgb, format_name, wanted, frame.height)
        parts = converted.format.components
        alpha = next((part for part in parts if part.is_alpha), None)
        if alpha is not None:
            # libswscale's alpha is right: that of YUV formats is not scaled by any range.
            with_alpha = f"gbrap{alpha.bits}le" if alpha.bits > 8 else "gbrap"
            opaque = self._other.reformat(frame, format=with_alpha)
            np.copyto(views(converted)[alpha.plane], views(opaque)[3])
        return converted


def _widened(values: Array, bits: int) -> Array:
    """Full-range samples of 9 to 16 bits as 16 bits: the largest becomes 65535."""
    if bits == 16:
        return values
    wide: Array = (values.astype(np.uint32) * 65535 + ((1 << bits) - 1) // 2) // ((1 << bits) - 1)
    return wide.astype(np.uint16)


def _narrowed(values: Array, bits: int) -> Array:
    """The inverse of `_widened`, rounded to nearest."""
    if bits == 16:
        return values
    return ((values.astype(np.uint32) * ((1 << bits) - 1) + 32767) // 65535).astype(np.uint16)
