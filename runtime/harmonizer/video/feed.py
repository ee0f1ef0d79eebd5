"""Open the inputs and compose them, frame by frame: what the pipeline then works on."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import av

from harmonizer.video.colour import (
    FULL,
    HDR_TRANSFERS,
    LIMITED,
    Colour,
    Converter,
    colour_of,
    is_guessed,
    wide_colours,
)
from harmonizer.video.companions import Companions, Leader, normalised
from harmonizer.video.errors import VideoError
from harmonizer.video.inputs import Inputs, Opener, Reader, interval_of
from harmonizer.video.masks import Brightness, alpha_mask, has_alpha
from harmonizer.video.matching import Companion, EndedError
from harmonizer.video.orientation import display_matrix, orientation_of
from harmonizer.video.planes import Mask, blend, foreground_box
from harmonizer.video.planning import VideoFrame
from harmonizer.video.reader import Picture
from harmonizer.video.sequence import SequenceReader, is_still
from harmonizer.video.stages import RunAhead

_READ_AHEAD = 4

_SHORTFALL_S = 0.5


@dataclass(slots=True)
class Carried:
    """What a `VideoFrame` carries: the frame that is encoded, and what is copied before it.

    Attributes:
        picture: The composite; drawn on where the mask is not 0.
        pts: For the output.
        packets: Of copied streams, read before this frame.
    """

    picture: av.VideoFrame
    pts: int
    packets: list[Any]


class Feed:
    """The opened inputs. `prepare` once, then iterate over `video_frames` once, then `close`.

    Attributes:
        reader: Of the moving input that gives the times: composite, else background.
        first: Its first frame.
        source_colour: Its colours as tagged; `colour` those of the output, after `prepare`.
        notes: What a person should know.
        trailing: Packets after the last frame, when `video_frames` has ended.
        captions: Frames with closed captions.

    Raises:
        VideoError, ImageFileError: If an input cannot be read, or nothing moves.
    """

    def __init__(self, inputs: Inputs, threads: int = 1) -> None:
        self.inputs = inputs
        self.notes: list[str] = []
        self.trailing: list[Any] = []
        self.captions = 0
        self._threads = threads
        self._stopped = False
        self._stack = ExitStack()
        self._opener = Opener(inputs, self._stack)
        still = is_still(inputs.composite)
        path = inputs.background if still and inputs.background else inputs.composite
        if is_still(path):
            raise VideoError(
                f"{path} must be a video or a sequence of images; it is one image. Use "
                "`harmonizer image`, or name a video."
            )
        self._leads_background = still
        try:
            self.reader: Reader = self._opener.open(path, inputs.copied)
            self._items = self._stack.enter_context(
                RunAhead(self.reader.items(), _READ_AHEAD, "read")
            )
            self._waiting: list[Any] = []
            self.first = self._peek()
            frame = self.first.frame
            self.size = (frame.height, frame.width)
            self.source_colour = colour_of(frame)
            self.wide = wide_colours(self.source_colour) if inputs.colour_management else None
            self.orientation = orientation_of(frame, self.reader.path)
        except BaseException:
            self.close()
            raise
        self.matrix = display_matrix(frame)
        self._describe()

    def output_colour(self, working_format: str) -> Colour:
        """The tags of the output in a working format."""
        colour, before = self.source_colour, self.first.frame.format
        rgb = av.VideoFormat(working_format, 16, 16).is_rgb
        if before.is_rgb and not rgb:
            return Colour(1, LIMITED, 1, 1)
        return Colour(0, FULL, colour.primaries, colour.transfer) if rgb else colour

    def prepare(self, working_format: str) -> None:
        """Open mask and background for a working format.

        Raises:
            VideoError, ImageFileError: If one cannot be read or does not fit.
        """
        inputs, frame = self.inputs, self.first.frame
        self.colour = self.output_colour(working_format)
        self._converter = Converter(self._threads)
        self._leader = Leader(self.reader, self.size, self.orientation, working_format, self.colour)
        companions = Companions(inputs, self._leader, self._opener, self._stack, self._threads)
        self._companions = companions
        self._mask: Companion[Mask] | None = None
        self._other: Companion[av.VideoFrame] | None = None
        self._inverted = inputs.invert_mask
        places = self._leads_background and (inputs.mask is None or is_still(inputs.mask))
        if inputs.placing is not None and not places:
            raise VideoError(
                "what is placed on a video must be one image, with an alpha channel or one image "
                f"as its mask; {inputs.composite} or its mask moves. Leave `at`, `scale` and the "
                "like out, and make it of the background's size."
            )
        if places:
            self._other, self._mask = companions.placed(inputs.composite, inputs.mask)
            self._inverted = False  # in its own file it has been
        elif inputs.mask is not None:
            self._mask = companions.mask(inputs.mask)
        elif not has_alpha(frame):
            raise VideoError(
                f"{inputs.composite} must have an alpha channel when no mask is given; its pixel "
                f"format is {frame.format.name}. Name a mask."
            )
        else:
            name = f"the alpha channel of {inputs.composite}"
            companions.brightness = Brightness(name, inputs.mask_levels is not None)
        if self._leads_background and self._other is None:
            self._other = companions.background(inputs.composite)
        elif not self._leads_background and inputs.background is not None:
            self._other = companions.background(inputs.background)
        for reader in self._opener.readers:
            if isinstance(reader, SequenceReader) and reader.others:
                names = ", ".join(reader.others[:10])
                more = f" and {len(reader.others) - 10} more" if len(reader.others) > 10 else ""
                self.notes.append(
                    f"{reader.path}: {len(reader.others)} other files are left alone: {names}{more}"
                )
            converted = reader.converted if isinstance(reader, SequenceReader) else ""
            if converted and reader.path != inputs.mask:
                self.notes.append(f"{reader.path}: its colours ({converted}) are converted to sRGB")
            if isinstance(reader, SequenceReader) and reader.missing:
                self.notes.append(
                    f"{reader.path}: {reader.missing} numbers have no image; the images keep "
                    "their own times"
                )

    def video_frames(self) -> Iterator[VideoFrame]:
        """Compose frame by frame; ends early where a companion does, if that was asked for.

        Raises:
            VideoError, ImageFileError: If an input is damaged, too short or of another size, or
                the mask nowhere comes near white.
        """
        packets: list[Any] = []
        try:
            for item in self.items():
                if not isinstance(item, Picture):
                    packets.append(item)
                    continue
                yield self._compose(item, packets)
                packets = []
        except EndedError:
            self._stopped = True
            self.notes.append(
                f"stopped where the mask or the background ends, after {self.reader.frames_read} "
                "frames were read"
            )
        self.trailing = packets
        if self._companions.brightness is not None:
            self._companions.brightness.judge()

    def close(self) -> None:
        """Close everything, also while `video_frames` is under way in a thread that has ended."""
        self._stack.close()

    def items(self) -> Iterator[Any]:
        """Pictures and packets as read, the peeked ones included, in place of `video_frames`."""
        yield from self._waiting
        self._waiting.clear()
        yield from self._items

    def closing_notes(self, complete: bool) -> list[str]:
        """What a person should know of the inputs after the last frame.

        Args:
            complete: Whether everything was to be read.
        """
        notes = list(self._companions.notes)
        notes += [
            f"{reader.path}: {reader.damaged} damaged packets or frames were passed over"
            for reader in self._opener.readers
            if reader.damaged
        ]
        promised = self.reader.promised_duration
        if promised is not None and complete and not self._stopped:
            came = self.reader.last_time + interval_of(self.reader)
            if came < promised - _SHORTFALL_S:
                notes.append(
                    f"{self.reader.path}: ends after {came:.1f} s, where its header promises "
                    f"{promised:.1f} s; it may be cut short"
                )
            else:
                notes += self._missing_frames()
        return notes

    def _missing_frames(self) -> list[str]:
        promised = getattr(self.reader, "promised_frames", None)
        if promised is None or self.reader.frames_read >= promised:
            return []
        return [
            f"{self.reader.path}: has {self.reader.frames_read} frames, where its header promises "
            f"{promised}; it may be cut short"
        ]

    def _peek(self) -> Picture:
        for item in self._items:
            self._waiting.append(item)
            if isinstance(item, Picture):
                return item
        raise VideoError(
            f"{self.reader.path} must have at least one video frame; it has none. Copy it again, "
            "or name another."
        )

    def _describe(self) -> None:
        for dropped in self.reader.dropped:
            self.notes.append(f"{self.reader.path}: its {dropped} stream is not copied")
        if is_guessed(self.source_colour, self.first.frame):
            guess = "BT.709" if self.size[0] >= 720 else "BT.601"
            self.notes.append(f"{self.reader.path}: has no colour matrix tag; {guess} is assumed")
        transfer = HDR_TRANSFERS.get(self.source_colour.transfer)
        if transfer:
            self.notes.append(
                f"{self.reader.path}: is {transfer}; the filters run on its encoded values, which "
                "the network was not trained on, and what frames say of HDR beside their tags "
                "(mastering display, light levels) is not carried over"
            )
        if self.wide is not None:
            self.notes.append(
                f"{self.reader.path}: its colours ({self.wide.name}) are converted to sRGB for the "
                "filters, and back"
            )
        elif wide := wide_colours(self.source_colour):
            self.notes.append(
                f"{self.reader.path}: its colours are {wide.name}'s, not those for which the "
                "network was trained; they are kept as they are: look at the result"
            )

    def _compose(self, picture: Picture, packets: list[Any]) -> VideoFrame:
        time, frame = float(picture.time), picture.frame
        if (frame.height, frame.width) != self.size:
            raise VideoError(
                f"{self.reader.path} must keep its size; frame {picture.index} is "
                f"{frame.width}x{frame.height} after {self.size[1]}x{self.size[0]}. Split it there."
            )
        self.captions += "A53_CC" in frame.side_data
        given = self._mask
        if given is None:
            mask = alpha_mask(frame, self.inputs.coded_levels, self._companions.brightness)
        else:
            mask = given.at(time)
        if self._inverted:
            mask = 255 - mask
        box = foreground_box(mask)
        shown = normalised(frame, self._converter, self._leader)
        if self._other is not None:
            # The decoder may still hold it as a reference for the frames to come.
            shown.make_writable()
            blend(shown, self._other.at(time), mask, box, self._leads_background)
        image = self._converter.to_rgb(shown, self.colour)
        carry = Carried(shown, picture.pts, packets)
        own = None
        if self.wide is not None:
            own, image = image, self.wide.to_srgb(image)
        composed = VideoFrame(picture.index, time, image, mask, box, self.orientation, carry)
        composed.own = own
        return composed
