"""Write the output: encoded frames, copied streams and metadata; under the final name when done."""

import contextlib
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from harmonizer.storage import Temporary, resolved
from harmonizer.video.colour import Colour
from harmonizer.video.encoders import Choice, check_container, open_encoder
from harmonizer.video.errors import VideoError, translated
from harmonizer.video.holding import DISK, cannot_hold, holding, holds
from harmonizer.video.libav import open_container
from harmonizer.video.reader import VideoReader

_ONE = 1 << 16
"""1 in a display matrix."""

_STEADY = {"avi"}
"""Containers of one constant frame rate."""

_SLACK = 0.3
"""By how much of a frame the time between two may miss a whole number of frames there: other
containers round times (Matroska to milliseconds)."""

_UNTURNED = {"avi", "mpegts"}
"""Containers that hold no rotation."""

_SHAPED = {"mp4", "mov", "ipod"}
"""Containers into which libav writes the shape of a pixel; PyAV gives the others none to write."""

_SHAPING = {"h264", "hevc", "mpeg2video", "mpeg4"}
"""Codecs that say it themselves."""

_WITHOUT_CHAPTERS = {"avi", "mpegts"}

_TRANSPORTED = {
    *("aac", "aac_latm", "ac3", "dts", "eac3", "mp2", "mp3", "opus", "truehd"),
    *("dvb_subtitle", "dvb_teletext"),
}
"""Codecs that MPEG-TS has a type for; libav would write others as private data that no player
knows."""

# The muxer writes these itself, or they describe the old file.
_OWN_METADATA = {"encoder", "major_brand", "minor_version", "compatible_brands", "duration"}


class VideoWriter:
    """An output file that appears under its name only when it is complete.

    Frames and packets go to a hidden file beside it; `finish` renames that, `discard` removes it.

    Args:
        path: Output.
        choice: Encoder and pixel format.
        size: (height, width).
        colour: Tags of the output.
        time_base: Of the frames that come.
        rate: Frames per second on average, for the header; None if not known.
        aspect: Sample aspect ratio, or None if it is not known.
        matrix: Display matrix, or None.
        source: Whose streams and metadata are copied; None for none.

    Attributes:
        frames: Written so far.
        notes: What a person should know.

    Raises:
        VideoError: If the container cannot hold a stream, or the encoder refuses its settings.
    """

    def __init__(
        self,
        path: str | Path,
        choice: Choice,
        size: tuple[int, int],
        colour: Colour,
        time_base: Fraction,
        rate: Fraction | None,
        aspect: Fraction | None = None,
        matrix: Sequence[int] | None = None,
        source: VideoReader | None = None,
    ) -> None:
        self.path = Path(path)
        self.frames = 0
        self.notes: list[str] = []
        self._rate = rate or Fraction(25)
        self._before: tuple[Fraction, int] | None = None
        target = resolved(path)
        self._source = source
        self._streams: dict[int, Any] = {}
        self._closed = False
        with translated(path, "must be writable", "Check that its folder exists and is writable."):
            self._temporary = Temporary(target, target.suffix)
        try:
            with translated(path, "must be writable", DISK):
                self._container: Any = open_container(f"file:{self._temporary.path}", "w")
            if self._kind in _STEADY:
                time_base = 1 / self._rate
            self._stream = self._add_video(choice, size, time_base)
            context = self._stream.codec_context
            context.colorspace, context.color_range = colour.matrix, colour.range
            context.color_primaries, context.color_trc = colour.primaries, colour.transfer
            if aspect and aspect != 1:
                self._shape(aspect)
            if matrix is not None and tuple(matrix[:5:4]) != (_ONE, _ONE):
                self._turn(matrix)
            open_encoder(self.path, context, choice)
            if source is not None:
                self._copy_descriptions(source)
            with self._holding(f"must hold its streams as {self._kind}"):
                self._container.start_encoding()
        except BaseException:
            self.discard()
            raise

    def write(self, frame: av.VideoFrame) -> None:
        """Encode a frame, whose pts and time base say its time.

        Raises:
            VideoError: If the encoder fails or the file cannot be written.
        """
        frame.pict_type = 0  # The decoder's frame types would force the encoder's.
        if self._kind in _STEADY:
            self._count(frame)
        with self._holding("must be writable"):
            self._container.mux(self._stream.encode(frame))
        self.frames += 1

    def copy(self, packet: Any) -> None:
        """Write a packet of a stream that is copied.

        Raises:
            VideoError: If the file cannot be written.
        """
        packet.stream = self._streams[packet.stream.index]
        with self._holding("must be writable"):
            self._container.mux(packet)

    def finish(self) -> None:
        """Write what the encoder holds back, close, and give the file its name.

        Raises:
            VideoError: If the file cannot be written; nothing is left of it then.
        """
        try:
            with self._holding("must be writable"):
                for packet in self._stream.encode(None):
                    # Of one or two frames x265 leaves the decoding times unset (garbage). Nothing
                    # is reordered among so few, so that both times are one.
                    if self.frames <= 2:
                        packet.dts = packet.pts
                    self._container.mux(packet)
                self._container.close()
                self._closed = True
                self._temporary.publish()
        except BaseException:
            self.discard()
            raise

    def discard(self) -> None:
        """Close and remove what was written; the file of that name stays as it was."""
        if not self._closed:
            self._closed = True
            with contextlib.suppress(av.FFmpegError, AttributeError, OSError, ValueError):
                self._container.close()
        self._temporary.discard()

    def _holding(self, rule: str) -> contextlib.AbstractContextManager[None]:
        return holding(self.path, self._kind, rule, self._source)

    @property
    def _kind(self) -> str:
        return str(self._container.format.name)

    def _count(self, frame: av.VideoFrame) -> None:
        """Give a frame its number for a time stamp."""
        time = Fraction(frame.pts or 0) * (frame.time_base or 1) * self._rate
        number = round(time)
        if self._before is not None:
            step = time - self._before[0]
            number = self._before[1] + round(step)
            if number <= self._before[1] or abs(step - round(step)) > _SLACK:
                raise VideoError(
                    f"{self.path} must have a constant frame rate, as its kind asks for; frame "
                    f"{self.frames} comes {float(step / self._rate):.4f} s after the one before, "
                    f"which is no multiple of {float(1 / self._rate):.4f} s. Write .mkv or .mp4."
                )
        self._before = time, number
        frame.pts, frame.time_base = number, 1 / self._rate

    def _shape(self, aspect: Fraction) -> None:
        context = self._stream.codec_context
        if self._kind not in _SHAPED and context.codec.canonical_name not in _SHAPING:
            raise VideoError(
                f"{self.path} must be able to say that pixels are {aspect} as wide as high; "
                f"{context.name} in {self._kind} is not. Write .mp4 or .mov, or H.264 in .mkv."
            )
        context.sample_aspect_ratio = aspect

    def _turn(self, matrix: Sequence[int]) -> None:
        if self._kind in _UNTURNED:
            raise VideoError(
                f"{self.path} must be able to hold the rotation of the input; {self._kind} is not. "
                "Write .mp4, .mov or .mkv."
            )
        self._stream.set_display_matrix(matrix)

    def _add_video(self, choice: Choice, size: tuple[int, int], time_base: Fraction) -> Any:
        check_container(self.path, self._container, choice.codec)
        stream = self._container.add_stream(choice.codec, rate=self._rate)
        context = stream.codec_context
        context.height, context.width = size
        context.pix_fmt = choice.pixel_format
        context.time_base = time_base
        context.options = dict(choice.options)
        context.thread_type = "AUTO"
        if choice.codec == "libx265" and self.path.suffix.lower() in (".mp4", ".mov", ".m4v"):
            # Apple's players show only this tag.
            context.codec_tag = "hvc1"
        return stream

    def _copy_descriptions(self, source: VideoReader) -> None:
        for stream in source.copies:
            context = stream.codec_context
            if context is None:
                raise VideoError(
                    f"{source.path} must have a codec for its {stream.type} stream that this PyAV "
                    f"({av.__version__}) knows; it has an unknown one, which cannot be copied. "
                    f"Leave '{stream.type}' out of `copied`."
                )
            codec = context.codec.canonical_name
            try:
                if self._kind == "mpegts" and codec not in _TRANSPORTED:
                    raise ValueError(codec)
                # Else some of them would be refused at the end of all the work.
                if stream.type == "audio" and not holds(self._kind, source, stream.index):
                    raise ValueError(codec)
                copy = self._container.add_stream_from_template(stream)
            except (ValueError, av.FFmpegError) as error:
                said = cannot_hold(self.path, self._kind, stream, source.path)
                raise VideoError(said) from error
            copy.metadata.update(stream.metadata)
            copy.disposition = stream.disposition
            self._streams[stream.index] = copy
        kept = {k: v for k, v in source.container.metadata.items() if k not in _OWN_METADATA}
        self._container.metadata.update(kept)
        own = {k: v for k, v in source.stream.metadata.items() if k not in _OWN_METADATA}
        self._stream.metadata.update(own)
        chapters = source.container.chapters()
        if chapters and self._kind in _WITHOUT_CHAPTERS:
            self.notes.append(f"{self.path}: {self._kind} has no chapters; they are left out")
        elif chapters:
            self._container.set_chapters(chapters)
