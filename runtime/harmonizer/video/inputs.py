"""What a video job reads, and how its files are opened."""

from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from harmonizer.images.cutouts import Placing
from harmonizer.limits import MAX_FRAME_PIXELS
from harmonizer.masks import Levels
from harmonizer.video.errors import VideoError
from harmonizer.video.masks import CODED
from harmonizer.video.matching import WhenShort
from harmonizer.video.reader import VideoReader
from harmonizer.video.sequence import SequenceReader, is_sequence

Reader = VideoReader | SequenceReader

_TYPICAL_RATE = 25.0


@dataclass(frozen=True, slots=True)
class Inputs:
    """What is harmonized.

    Attributes:
        composite: Video or image sequence; with `background`, the foreground over it. One image
            may stand still over a moving background.
        mask: Video, image sequence or one image; None for the composite's alpha channel.
        background: Video, image sequence or one image; None if the composite is one.
        rate: Frames per second of image sequences, and of videos in place of their timestamps.
        when_short: What happens where a mask or background ends before the video.
        skip_damaged: Go on past what cannot be decoded.
        fit_mask: Scale a mask of another size.
        mask_levels: What counts as black and white in masks: 0 to 255 for those that come from
            video, the files' own values for images. None for `masks.CODED`, and for images 0 and
            the largest value.
        copied: Kinds of other streams that are copied.
        max_pixels: Larger frames and images are refused.
        invert_mask: What is black in masks is the foreground.
        placing: How a composite that is one image is put on a moving background, as
            `harmonizer.place` does; its own background does not count. None for the middle.
        colour_management: Convert colours other than sRGB's for the filters, and a video's back.
    """

    composite: Path
    mask: Path | None = None
    background: Path | None = None
    rate: Fraction | None = None
    when_short: WhenShort = "refuse"
    skip_damaged: bool = False
    fit_mask: bool = False
    mask_levels: Levels | None = None
    copied: tuple[str, ...] = ("audio", "subtitle")
    max_pixels: int = MAX_FRAME_PIXELS
    invert_mask: bool = False
    placing: Placing | None = None
    colour_management: bool = True

    @property
    def coded_levels(self) -> Levels:
        """What counts as black and white in masks that come from video.

        Raises:
            VideoError: If the levels are beyond 8 bits, as which videos count.
        """
        levels = self.mask_levels or CODED
        if levels.white > 255:
            raise VideoError(
                "the white of mask levels must be at most 255 for a video, whose values count as 8 "
                f"bits; got {levels.white:g}. Name the value that full foreground has there."
            )
        return levels


class Opener:
    """Opens moving inputs and closes them together.

    Attributes:
        readers: What was opened.
    """

    def __init__(self, inputs: Inputs, stack: ExitStack) -> None:
        self._inputs, self._stack = inputs, stack
        self.readers: list[Reader] = []

    def open(self, path: Path, copied: tuple[str, ...] = ()) -> Reader:
        """Open a video, or an image sequence: at the rate that was given, else the first one's.

        Raises:
            VideoError, ImageFileError: If it cannot be read.
        """
        rate, skip = self._inputs.rate, self._inputs.skip_damaged
        reader: Reader
        if is_sequence(path):
            known = rate or (self.readers[0].rate if self.readers else None)
            managed = self._inputs.colour_management
            reader = SequenceReader(path, known, skip, self._inputs.max_pixels, managed)
        else:
            reader = VideoReader(path, rate, skip, copied, self._inputs.max_pixels)
        self._stack.callback(reader.close)
        self.readers.append(reader)
        return reader


def interval_of(reader: Reader) -> float:
    """Seconds between two frames, on average."""
    return 1 / float(reader.rate or _TYPICAL_RATE)
