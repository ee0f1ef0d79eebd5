"""Read a video: its frames with checked timestamps, and the packets that are only copied."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

import av

from harmonizer.limits import MAX_FRAME_PIXELS, MAX_PARTS
from harmonizer.mistaken import HEAD, came, kind_of
from harmonizer.reading import check_regular, open_regular
from harmonizer.systems import available_cores
from harmonizer.video.errors import VideoError, translated
from harmonizer.video.libav import open_container

_REMEDY = "Check the path and that the file is complete."

DAMAGED = "Repair or download it again, or pass `skip_damaged=True` to use what can be decoded."

CONTAINERS = (
    *("mov", "mp4", "m4a", "3gp", "3g2", "mj2", "matroska", "webm", "avi", "mpegts", "mpeg"),
    *("mpegvideo", "m4v", "h264", "hevc", "vvc", "av1", "obu", "ivf", "flv", "ogg", "asf", "mxf"),
    *("nut", "dv", "yuv4mpegpipe", "gif", "apng", "rm", "gxf", "vc1", "swf", "wtv", "mjpeg"),
)
"""What is read. Playlists and lists of other files are not among them, nor what reads a device."""

_WALLS = {"format_whitelist": ",".join(CONTAINERS), "protocol_whitelist": "file"}

_MOST_THREADS = 16


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded frame with its time.

    Attributes:
        index: From 0.
        time: Seconds since the stream's first frame.
        pts: In units of the reader's `time_base`, as the file has it.
        frame: As decoded.
    """

    index: int
    time: Fraction
    pts: int
    frame: av.VideoFrame


class VideoReader:
    """An open video file; iterate over it once.

    Args:
        path: A regular file, in one of `CONTAINERS`.
        rate: Frames per second to count by instead of the timestamps; None for those.
        skip_damaged: Go on past what cannot be decoded, and count it in `damaged`.
        copied: Kinds of streams whose packets `items` gives, such as "audio".
        max_pixels: Larger frames are refused before one is decoded.

    Attributes:
        place: What libav was given to open.
        stream: The video stream: the first that is no attached picture.
        copies: The streams whose packets `items` gives.
        dropped: Kind and codec of the streams that are not copied.
        time_base: Seconds per unit of `Picture.pts`.
        damaged: Packets and frames that could not be decoded.
        frames_read, last_time: How many frames `items` has given, and the last one's seconds.

    Raises:
        VideoError: If the file cannot be opened, has no video, or libav cannot decode it.
    """

    def __init__(
        self,
        path: str | Path,
        rate: Fraction | None = None,
        skip_damaged: bool = False,
        copied: tuple[str, ...] = (),
        max_pixels: int = MAX_FRAME_PIXELS,
    ) -> None:
        self.path = Path(path)
        self._max_pixels = max_pixels
        self.damaged = 0
        self.frames_read = 0
        self.last_time = 0.0
        self._rate, self._skip = rate, skip_damaged
        if self.path.is_dir():
            raise VideoError(f"{path} must be a video file; it is a folder. Name a file in it.")
        with _named(self.path), translated(path, "must be a readable video", _REMEDY):
            check_regular(self.path)
            # A path is a path: libav would take a local "http:x.mp4" for an address.
            self.place = f"file:{self.path.absolute()}"
            self.container: Any = self.reopened()
        try:
            self.stream: Any = self._find_stream()
            self._check_size()
        except BaseException:
            self.container.close()
            raise
        self.stream.thread_type = "AUTO"
        # Each thread holds a frame.
        self.stream.codec_context.thread_count = min(available_cores(), _MOST_THREADS)
        self.stream.codec_context.options = {"max_pixels": str(max_pixels)}
        self._decoder = self._alpha_decoder()
        self.time_base = Fraction(1) / rate if rate else Fraction(self.stream.time_base)
        others = [s for s in self.container.streams if s is not self.stream]
        self.copies = [s for s in others if s.type in copied]
        self.dropped = [_described(s) for s in others if s.type not in copied]

    @property
    def width(self) -> int:
        """Columns as stored."""
        return int(self.stream.codec_context.width)

    @property
    def height(self) -> int:
        """Rows as stored."""
        return int(self.stream.codec_context.height)

    @property
    def rate(self) -> Fraction | None:
        """Frames per second on average, if the file says."""
        return self._rate or self.stream.average_rate or self.stream.guessed_rate

    @property
    def aspect(self) -> Fraction | None:
        """Width to height of a pixel, if the file says."""
        return self.stream.sample_aspect_ratio or None

    @property
    def duration(self) -> float | None:
        """Seconds, if the file says; counted by `rate` if that was given."""
        stream = self.stream
        if self._rate:
            return float(stream.frames / self._rate) if stream.frames else None
        if stream.duration:
            return float(stream.duration * stream.time_base)
        return self.container.duration / av.time_base if self.container.duration else None

    @property
    def promised_duration(self) -> float | None:
        """Seconds of video that the header states, where it states them of the video alone."""
        if self._rate is None and (self.stream.duration or len(self.container.streams) == 1):
            return self.duration
        return None

    @property
    def promised_frames(self) -> int | None:
        """Frames that the header states, where libav does not shorten them to what is there."""
        kept = self.container.format.name == "avi" and self.stream.frames
        return int(self.stream.frames) if kept else None

    @property
    def frame_count(self) -> int | None:
        """Frames, as far as the file says; an estimate, for the progress bar."""
        if self.stream.frames:
            return int(self.stream.frames)
        if self.duration and self.rate:
            return round(self.duration * float(self.rate))
        return None

    def items(self) -> Iterator[Any]:
        """Yield `Picture`s, and between them the packets to copy, as they lie in the file.

        Raises:
            VideoError: If the file is damaged, or timestamps are missing or do not increase.
        """
        first: int | None = None
        last: int | None = None
        chosen = [self.stream, *self.copies]
        packets = self.container.demux(chosen)
        while True:
            with translated(self.path, "must be readable to its end", DAMAGED):
                packet = next(packets, None)
            if packet is None:
                break
            if packet.stream is not self.stream:
                if packet.dts is not None:
                    yield packet
                continue
            for frame in self._decode(packet):
                pts = self._stamp(frame)
                if last is not None and pts <= last:
                    raise VideoError(self._backwards(pts, last))
                first = pts if first is None else first
                time = (pts - first) * self.time_base
                picture = Picture(self.frames_read, time, pts, frame)
                last, self.frames_read = pts, self.frames_read + 1
                self.last_time = float(time)
                yield picture
                del picture, frame
        if not self.frames_read:
            raise VideoError(
                f"{self.path} must have at least one video frame; it has none that can be decoded. "
                "Check the file."
            )

    def pictures(self) -> Iterator[Picture]:
        """`items` without packets.

        Raises:
            VideoError: As `items` does.
        """
        for item in self.items():
            if isinstance(item, Picture):
                yield item

    def reopened(self) -> Any:
        """The file's container, opened once more.

        Raises:
            av.FFmpegError, OSError: As `av.open` does.
        """
        options = {**_WALLS, "max_pixels": str(self._max_pixels)}
        return open_container(self.place, "r", options)

    def close(self) -> None:
        """Close the file."""
        self.container.close()

    def _find_stream(self) -> Any:
        attached = av.stream.Disposition.attached_pic
        found = [s for s in self.container.streams.video if not s.disposition & attached]
        if not found:
            kinds = ", ".join(s.type for s in self.container.streams) or "nothing"
            raise VideoError(f"{self.path} must have a video stream; it has {kinds}. Name a video.")
        stream = found[0]
        if stream.codec_context is None:
            raise VideoError(
                f"{self.path} must have a codec that this PyAV ({av.__version__}) decodes; it has "
                "an unknown one. Convert it, to H.264 for example."
            )
        return stream

    def _check_size(self) -> None:
        if not self.width * self.height:  # libav gave up at the same limit, before it knew the size
            raise VideoError(
                f"{self.path} must have frames of at most {self._max_pixels:,} pixels, of a size "
                "that its beginning tells; they are larger, or it does not tell. Scale it down, or "
                "pass a larger `max_pixels`."
            )
        if self.width * self.height > self._max_pixels:
            raise VideoError(
                f"{self.path} must have at most {self._max_pixels:,} pixels a frame; it has "
                f"{self.width}x{self.height} = {self.width * self.height:,}. Scale it down, or "
                f"pass `max_pixels={self.width * self.height}`."
            )

    def _alpha_decoder(self) -> Any:
        """The decoder that sees alpha in VP8 and VP9, where the usual one does not."""
        context = self.stream.codec_context
        tagged = self.stream.metadata.get("alpha_mode") or self.stream.metadata.get("ALPHA_MODE")
        better = {"vp9": "libvpx-vp9", "vp8": "libvpx"}.get(context.name)
        if tagged != "1" or better is None:
            return None
        decoder: Any = av.CodecContext.create(better, "r")
        decoder.extradata = context.extradata
        decoder.options = {"max_pixels": str(self._max_pixels)}
        return decoder

    def _decode(self, packet: Any) -> list[av.VideoFrame]:
        try:
            decoder = self._decoder
            frames = packet.decode() if decoder is None else decoder.decode(_flushing(packet))
        except av.FFmpegError as error:
            self._note_damage(error.strerror)
            return []
        kept = []
        for frame in frames:
            if frame.is_corrupt:
                self._note_damage("a frame is incomplete")
            kept.append(frame)
        return kept

    def _note_damage(self, reason: str | None) -> None:
        self.damaged += 1
        if not self._skip:
            raise VideoError(
                f"{self.path} must be intact; after frame {self.frames_read} {reason}. {DAMAGED}"
            )

    def _stamp(self, frame: av.VideoFrame) -> int:
        if self._rate is not None:
            return self.frames_read
        if frame.pts is None:
            raise VideoError(
                f"{self.path} must have timestamps; frame {self.frames_read} has none. Say with "
                "`rate` how many frames there are in a second."
            )
        return frame.pts

    def _backwards(self, pts: int, last: int) -> str:
        return (
            f"{self.path} must have increasing timestamps; frame {self.frames_read} is at "
            f"{float(pts * self.time_base):.3f} s, the one before at "
            f"{float(last * self.time_base):.3f} s. Pass `rate` to count frames instead."
        )


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Say of a file that cannot be opened what it is instead, or what it lacks."""
    try:
        yield
    except VideoError as error:
        complaint = _complaint(path)
        if not complaint:
            raise
        raise VideoError(f"{path} must be a readable video; {complaint}. {_REMEDY}") from error


def _complaint(path: Path) -> str:
    """Why a file is no video, as far as its first bytes tell; empty if they do not."""
    try:
        with open_regular(path) as file:
            head = file.read(HEAD)
            if head[4:8] == b"ftyp" and not _has_index(file):
                return "its index (moov) is missing: the recording or the copy was cut short"
    except OSError:
        return ""
    kind = kind_of(head)
    return came(head) if not head or (kind and "video" not in kind) else ""


def _has_index(file: BinaryIO) -> bool:
    """Whether an MP4 or QuickTime file has a box `moov` (ISO/IEC 14496-12, 4.2)."""
    at, end = 0, file.seek(0, 2)
    for _ in range(MAX_PARTS):
        if at + 8 > end:
            return False
        file.seek(at)
        header = file.read(16)
        size, name = int.from_bytes(header[:4]), header[4:8]
        if name == b"moov":
            return True
        size = int.from_bytes(header[8:]) if size == 1 else size
        if size < 8:  # 0: to the end of the file
            return False
        at += size
    return True  # so many that nobody can say


def _described(stream: Any) -> str:
    """What a person would call a stream; one of an unknown codec has no name."""
    return f"{stream.type} {getattr(stream, 'name', None) or ''}".strip()


def _flushing(packet: Any) -> Any:
    """The packet, or None for the empty one at the end, as a bare decoder wants it."""
    return packet if packet.size else None
