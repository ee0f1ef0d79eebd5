"""Where the results of a slot's frames lie in device memory."""

from dataclasses import dataclass

from harmonizer.cuda.predictor import THUMBNAIL_PIXELS

_ALIGNMENT = 256


@dataclass(frozen=True, slots=True)
class Scratch:
    """Where a slot's results lie.

    Attributes:
        workspace: Address of the first frame's; the next ones follow every `step` bytes.
        composite, coverage, arguments: Of the predictor, for all frames; with `crops`, the
            foreground and the background are where the first two are said to be.
        label: What the foregrounds show, for as many frames as one part has; 0 for a predictor
            that does not ask.
        size: Of a thumbnail's values in bytes; 0 without thumbnails.
        count: Of the frames.
        part: How many of them the predictor takes at a time.
        numbers: How many the predictor answers with for a frame.
        crops: Whether the thumbnails are those of foreground and background apart.
    """

    workspace: int
    step: int
    composite: int
    coverage: int
    arguments: int
    label: int
    size: int
    count: int
    part: int
    numbers: int
    crops: bool

    def thumbnails(self, index: int) -> tuple[int, int]:
        """Where the two thumbnails of a frame lie."""
        pixels = index * THUMBNAIL_PIXELS * self.size
        planes = 3 if self.crops else 1
        return self.composite + 3 * pixels, self.coverage + planes * pixels

    def inputs(self, index: int) -> tuple[int, ...]:
        """What the predictor reads for the frames from this one on, the first of a part."""
        return (*self.thumbnails(index), *([self.label] if self.label else []))

    def report(self, index: int) -> int:
        """Where the `hz_report` of a frame lies."""
        return self.workspace + index * self.step

    def predicted(self, index: int) -> int:
        """Where the arguments of a frame lie; each part begins at an aligned address."""
        part, position = divmod(index, self.part)
        begin = self.arguments + part * round_up(4 * self.part * self.numbers)
        return begin + 4 * position * self.numbers


def round_up(size: int) -> int:
    """To a multiple of the alignment that each frame's memory has."""
    return (size + _ALIGNMENT - 1) // _ALIGNMENT * _ALIGNMENT
