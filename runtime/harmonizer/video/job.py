"""What decides a harmonized video beside its inputs, and what is said of it afterwards."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from harmonizer.recipes import Recipe
from harmonizer.video.encoders import Encoding
from harmonizer.video.errors import VideoError
from harmonizer.video.smoothing import Smoothing
from harmonizer.video.track import Track

OnCancel = Literal["discard", "keep"]


@dataclass(frozen=True, slots=True)
class Job:
    """All that decides the output beside the inputs.

    Attributes:
        recipe: Strength, overrides, and constant arguments in place of a prediction.
        smoothing: Of what is predicted.
        encoding: Codec and its settings.
        two_pass: Look at the whole video first and smooth without delay (zero-phase).
        track: Replayed in place of a prediction; None to predict.
        save_track: Where to write the arguments and statistics as drawn, or None.
        on_cancel: What to do with the output when the caller cancels.
        threads: Of each conversion between YUV and RGB.

    Raises:
        VideoError: If fields contradict each other.
    """

    recipe: Recipe = field(default_factory=Recipe)
    smoothing: Smoothing = field(default_factory=Smoothing)
    encoding: Encoding = field(default_factory=Encoding)
    two_pass: bool = False
    track: Track | None = None
    save_track: Path | None = None
    on_cancel: OnCancel = "discard"
    threads: int = 1

    def __post_init__(self) -> None:
        if self.two_pass and self.smoothing.weight is not None:
            raise VideoError(
                "two-pass smoothing must have time constants; it has a weight per frame. Give "
                "seconds instead."
            )
        if self.track is not None and (self.two_pass or self.recipe.given is not None):
            raise VideoError(
                "a track is drawn as it is; two-pass smoothing and constant arguments do not go "
                "with it. Drop one of them."
            )


@dataclass(slots=True)
class Report:
    """What was done.

    Attributes:
        frames: Written to the output.
        drawn: Of these, with a foreground that was drawn.
        cuts: Scene cuts found.
        cancelled: Whether the caller ended it early.
        written: Whether the output is there.
        codec: The encoder.
        notes: What a person should know.
    """

    frames: int = 0
    drawn: int = 0
    cuts: int = 0
    cancelled: bool = False
    written: bool = False
    codec: str = ""
    notes: list[str] = field(default_factory=list)
