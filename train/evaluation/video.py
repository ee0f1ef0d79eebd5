"""Flicker and accuracy of harmonized video, for several ways of smoothing.

python train/evaluate.py video --json FILE

docs/video.md says what is measured and holds the table.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage import registration

from harmonizer.harmonizer import Harmonizer
from harmonizer.recipes import Recipe, Tools
from harmonizer.storage import write_atomically
from harmonizer.usage import UsageError, check_outputs, check_suffix, tool_parser
from harmonizer.values import to_numbers
from harmonizer.video.planes import foreground_box
from harmonizer.video.planning import Tally, VideoFrame, interpolated, planned, predicted, replayed
from harmonizer.video.smoothing import OFF, Smoothing
from harmonizer.video.track import Track
from train.evaluation.report import jsonable
from train.evaluation.video_clips import (
    Clip,
    composed_clip,
    recoloured_clips,
    synthetic_clips,
)

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]

# scikit-image has no annotations.
_flow: Any = registration.optical_flow_ilk

LUMA = np.array([0.2126, 0.7152, 0.0722], np.float32)
"""ITU-R BT.709."""


@dataclass(frozen=True)
class Variant:
    """A way of smoothing.

    Attributes:
        name: For the table.
        smoothing: The settings.
        two_pass: Whether past and future are averaged.
    """

    name: str
    smoothing: Smoothing
    two_pass: bool = False


VARIANTS = (
    Variant("off", OFF),
    Variant("arguments, new value 0.9 (paper)", Smoothing(0.04 / np.log(10), 0)),
    Variant("arguments, old value 0.96 (demo)", Smoothing(0.98, 0)),
    Variant("statistics alone, 1 s", Smoothing(0, 1)),
    Variant("arguments, 0.25 s", Smoothing(0.25, 0)),
    Variant("arguments, 0.5 s", Smoothing(0.5, 0)),
    Variant("arguments, 1 s (default)", Smoothing()),
    Variant("arguments, 2 s", Smoothing(2, 0)),
    Variant("arguments and statistics, 1 s", Smoothing(1, 1)),
    Variant("arguments, 1 s, every 4th frame", Smoothing(every=4)),
    Variant("two-pass, 0.25 s", Smoothing(0.25, 0), True),
    Variant("two-pass, 0.5 s", Smoothing(0.5, 0), True),
    Variant("two-pass, 1 s", Smoothing(), True),
)
"""The paper's and the demo's weights as time constants at 25 frames a second."""


@dataclass(frozen=True)
class Score:
    """Figures of one variant on one clip, in levels of 255 where not said otherwise.

    Attributes:
        clip, variant: Names.
        fmse: Mean squared error on the foreground; NaN where the right answer is not known.
        warped: Mean squared difference on the foreground to the frame before, warped along the
            scene's optical flow, where the flow explains the composite.
        argument_jitter: Mean absolute change of an argument from frame to frame.
        luminance_jitter: Mean absolute change from frame to frame of what harmonizing adds to the
            foreground's mean luma.
        lag: Mean absolute difference of the foreground to the unsmoothed result.
    """

    clip: str
    variant: str
    fmse: float
    warped: float
    argument_jitter: float
    luminance_jitter: float
    lag: float


class Flow:
    """Where each pixel of a frame was in the frame before, and how far that can be trusted.

    Iterative Lucas-Kanade (scikit-image's `optical_flow_ilk`) on the composites' luma, which all
    variants share. Trust is exp(-50 d^2), d the difference of the composite in [0, 1] to its warped
    predecessor (Lai et al., Learning Blind Video Temporal Consistency, ECCV 2018, eq. 6).

    Args:
        before, after: (H, W, 3) uint8.
        mask: (H, W), of the later frame.
    """

    def __init__(self, before: Pixels, after: Pixels, mask: Pixels) -> None:
        height, width = mask.shape
        # Half the resolution: a quarter of the time, and displacements stay within reach.
        first, second = (
            image[::2, ::2].astype(np.float32) @ LUMA / 255 for image in (before, after)
        )
        flow = _flow(second, first, radius=5, num_warp=5, dtype=np.float32) * 2
        flow = flow.repeat(2, axis=1).repeat(2, axis=2)[:, :height, :width]
        self._rows, self._columns = np.nonzero(mask)
        y = np.clip(self._rows + flow[0][self._rows, self._columns], 0, height - 1)
        x = np.clip(self._columns + flow[1][self._rows, self._columns], 0, width - 1)
        self._top, self._left = y.astype(np.intp), x.astype(np.intp)
        self._bottom = np.minimum(self._top + 1, height - 1)
        self._right = np.minimum(self._left + 1, width - 1)
        self._down = (y - self._top).astype(np.float32)[:, None]
        self._across = (x - self._left).astype(np.float32)[:, None]
        change = self._differences(before, after)
        trust = np.exp(-50 * np.square(change / 255).sum(axis=1))
        self._weight = trust * (mask[self._rows, self._columns] / np.float32(255))

    def error(self, before: Pixels, after: Pixels) -> float:
        """Mean squared difference where the foreground's flow is trusted."""
        squares = np.square(self._differences(before, after)).mean(axis=1)
        return float((squares * self._weight).sum() / max(self._weight.sum(), 1e-6))

    def _differences(self, before: Pixels, after: Pixels) -> Floats:
        """The later frame's foreground pixels less the earlier's, moved: (n, 3) levels."""

        def mix(rows: NDArray[np.intp]) -> Floats:
            left = before[rows, self._left].astype(np.float32)
            mixed: Floats = left + (before[rows, self._right] - left) * self._across
            return mixed

        upper = mix(self._top)
        moved = upper + (mix(self._bottom) - upper) * self._down
        difference: Floats = after[self._rows, self._columns] - moved
        return difference


class Session:
    """One clip: predicted once, drawn by every variant.

    Args:
        harmonizer: What predicts and draws.
        clip: The clip.
    """

    def __init__(self, harmonizer: Harmonizer, clip: Clip) -> None:
        self.clip = clip
        self._tools = Tools(harmonizer.renderer, harmonizer)
        self._raw = [
            video_frame.raw
            for video_frame in predicted(self._video_frames(), self._tools, Recipe(), OFF, Tally())
        ]
        pairs = zip(clip.composites, clip.composites[1:], clip.masks[1:], strict=False)
        self._flows = [Flow(*pair) for pair in pairs]
        self._plain = [self._draw(video_frame) for video_frame in self._plans(VARIANTS[0])]

    def score(self, variant: Variant) -> Score:
        """Draw the clip one way and measure it."""
        drawn, plans = [], []
        for video_frame in self._plans(variant):
            drawn.append(self._draw(video_frame))
            if video_frame.plan is not None:
                numbers = [to_numbers(step.argument) for step in video_frame.plan.steps]
                plans.append(np.concatenate(numbers))
        jitter = float(np.abs(np.diff(plans, axis=0)).mean())
        lag = [
            _foreground_mean(np.abs(d.astype(np.float32) - p).mean(axis=2), m)
            for d, p, m in zip(drawn, self._plain, self.clip.masks, strict=True)
        ]
        return self._measured(variant.name, drawn, jitter, float(np.mean(lag)))

    def references(self) -> list[Score]:
        """The composite itself and, where it is known, the right answer: what flow leaves."""
        clip = self.clip
        rows = [self._measured("composite", clip.composites, 0.0, float("nan"))]
        if clip.reals:
            rows.append(self._measured("right answer", clip.reals, 0.0, float("nan")))
        return rows

    def _measured(self, name: str, drawn: list[Pixels], jitter: float, lag: float) -> Score:
        clip = self.clip
        added = [
            _foreground_mean(d @ LUMA - c @ LUMA, m)
            for d, c, m in zip(drawn, clip.composites, clip.masks, strict=True)
        ]
        errors = [
            _foreground_mean(np.square(d.astype(np.float32) - r).mean(axis=2), m)
            for d, r, m in zip(drawn, clip.reals, clip.masks, strict=False)
        ]
        warped = [
            flow.error(a, b) for flow, a, b in zip(self._flows, drawn, drawn[1:], strict=False)
        ]
        return Score(
            clip.name,
            name,
            float(np.mean(errors)) if errors else float("nan"),
            float(np.mean(warped)),
            jitter,
            float(np.abs(np.diff(added)).mean()),
            lag,
        )

    def _video_frames(self) -> "list[VideoFrame]":
        clip = self.clip
        rows = zip(clip.times, clip.composites, clip.masks, strict=True)
        return [
            VideoFrame(i, t, c, m, foreground_box(m), frame=self._tools.open(c, m))
            for i, (t, c, m) in enumerate(rows)
        ]

    def _plans(self, variant: Variant) -> "list[VideoFrame]":
        video_frames, smoothing = self._video_frames(), variant.smoothing
        for index, (video_frame, raw) in enumerate(zip(video_frames, self._raw, strict=True)):
            video_frame.raw = raw if index % smoothing.every == 0 else None
        if not variant.two_pass:
            keyed = interpolated(video_frames)
            return list(planned(keyed, Recipe(), smoothing))
        looked = planned(video_frames, Recipe(), OFF)
        entries = [video_frame.entry() for video_frame in looked]
        filters = next(e.arguments.filters for e in entries if e.arguments is not None)
        track = Track(filters, entries).smoothed(smoothing)
        return list(replayed(self._video_frames(), Recipe(), track, Tally()))

    def _draw(self, video_frame: VideoFrame) -> Pixels:
        if video_frame.plan is None:
            return video_frame.image
        return video_frame.opened.draw(video_frame.plan)


def _foreground_mean(values: NDArray[Any], mask: Pixels) -> float:
    weight = mask.astype(np.float64)
    return float((values * weight).sum() / max(weight.sum(), 1.0))


def summarise(scores: Sequence[Score]) -> list[dict[str, Any]]:
    """Means over the clips for each variant, in order."""
    rows = []
    for name in dict.fromkeys(score.variant for score in scores):
        group = [asdict(score) for score in scores if score.variant == name]
        row: dict[str, Any] = {"variant": name, "clips": len(group)}
        for key in ("fmse", "warped", "argument_jitter", "luminance_jitter", "lag"):
            values = np.array([score[key] for score in group], np.float64)
            known = values[np.isfinite(values)]
            row[key] = float(known.mean()) if len(known) else None
        rows.append(row)
    return rows


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Markdown."""
    lines = [
        "| smoothing | fMSE | warped error | argument jitter | luminance jitter | off unsmoothed |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        cells = [
            "-" if row[key] is None else f"{row[key]:.{digits}f}"
            for key, digits in (
                ("fmse", 1),
                ("warped", 2),
                ("argument_jitter", 4),
                ("luminance_jitter", 3),
                ("lag", 2),
            )
        ]
        lines.append(f"| {row['variant']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(argv: Sequence[str], default: Path) -> int:
    """The command line of `train/evaluate.py video`.

    Args:
        argv: Words after "video".
        default: The shared data.

    Returns:
        0 on success, 2 for bad input.
    """
    parser = tool_parser(__doc__, "evaluate video")
    parser.add_argument("--model", type=Path, metavar="ONNX", help="predictor (the shipped one)")
    parser.add_argument("--data", type=Path, default=default, help="folder with val/ and video/")
    parser.add_argument("--clips", type=int, default=8, help="synthetic ones (%(default)s)")
    parser.add_argument("--frames", type=int, default=48, help="in each (%(default)s)")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--json", type=Path, metavar="FILE", help="all figures")
    args = parser.parse_args(argv)
    for flag, value, least in (("--clips", args.clips, 1), ("--frames", args.frames, 3)):
        if value < least:
            raise UsageError(f"{flag} must be at least {least}; got {value}. Give {least} or more.")
    check_outputs({"--json": args.json}, [args.model])
    check_suffix("--json", args.json, ".json")
    groups: dict[str, list[Score]] = {}
    with Harmonizer(args.model, "cpu", 1) as harmonizer:
        sets = {
            "known answer": [
                *synthetic_clips(args.data / "val", args.clips, args.frames, args.seed),
                *recoloured_clips(args.data / "video/davis_horsejump", 3, args.seed),
            ],
            "real composite": [composed_clip(args.data / "video/harmonizer_demo")],
        }
        for name, clips in sets.items():
            groups[name] = []
            for clip in clips:
                session = Session(harmonizer, clip)
                scores = [*session.references(), *map(session.score, VARIANTS)]
                groups[name] += scores
                print(f"{clip.name}: {len(clip.times)} frames", file=sys.stderr)
    document = {}
    for name, scores in groups.items():
        rows = summarise(scores)
        document[name] = {"means": rows, "clips": [asdict(score) for score in scores]}
        print(f"\n{name}\n\n{table(rows)}")
    if args.json:
        text = json.dumps(jsonable(document), indent=1) + "\n"
        write_atomically(args.json, text.encode())
    return 0
