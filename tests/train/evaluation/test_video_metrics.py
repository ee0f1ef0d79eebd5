"""Flicker and accuracy figures of `train/evaluate.py video`."""

from pathlib import Path

import numpy as np
import pytest
from video_clips import disc, picture

from harmonizer.harmonizer import Harmonizer
from train import evaluate
from train.evaluation.video import VARIANTS, Flow, Session, summarise, table
from train.evaluation.video_clips import Clip

SIDE = 96


def frames(count: int) -> list[np.ndarray]:
    return [picture(i, SIDE, SIDE) for i in range(count)]


def test_warped_error_sees_flicker_and_not_motion() -> None:
    before, after = frames(2)
    mask = np.full((SIDE, SIDE), 255, np.uint8)
    flow = Flow(before, after, mask)
    still = flow.error(before, after)
    unaligned = np.square(after.astype(float) - before).mean()
    assert still < 0.2 * unaligned
    brighter = np.clip(after.astype(int) + 6, 0, 255).astype(np.uint8)
    assert flow.error(before, brighter) == pytest.approx(still + 36, abs=8)


def test_warped_error_counts_the_foreground_alone() -> None:
    before, after = frames(2)
    mask = disc(0, SIDE, SIDE)
    flow = Flow(before, after, mask)
    spoilt = after.copy()
    spoilt[mask == 0] = 255 - spoilt[mask == 0]
    assert flow.error(before, spoilt) == flow.error(before, after)


def test_session_scores_every_variant(model: Path) -> None:
    count = 6
    masks = [disc(i, SIDE, SIDE) for i in range(count)]
    reals = frames(count)
    composites = [
        np.where(m[..., None] > 0, r // 2 + 20, r) for m, r in zip(masks, reals, strict=True)
    ]
    clip = Clip("c", composites, masks, reals, [i / 25 for i in range(count)])
    with Harmonizer(model, "cpu", 1) as harmonizer:
        session = Session(harmonizer, clip)
        scores = [*session.references(), *map(session.score, VARIANTS)]
    assert scores[0].fmse > 100
    # The right answer is not steady to the measure: flow explains no frame wholly.
    assert scores[1].fmse == 0 and 0 < scores[1].warped < 50
    rows = summarise(scores)
    assert [row["variant"] for row in rows] == [
        "composite",
        "right answer",
        *(v.name for v in VARIANTS),
    ]
    by_name = {score.variant: score for score in scores}
    off, slow = by_name["off"], by_name["arguments, 2 s"]
    assert off.lag == 0
    assert slow.argument_jitter < 0.2 * off.argument_jitter
    assert slow.lag > 0
    assert len(table(rows).splitlines()) == len(VARIANTS) + 4


def test_evaluate_video_without_data_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate.main(["video", "--data", str(tmp_path)]) == 2
    assert "val must be a folder" in capsys.readouterr().err
    for words in (("--frames", "1"), ("--clips", "0")):
        assert evaluate.main(["video", *words]) == 2
        assert f"{words[0]} must be at least" in (said := capsys.readouterr().err)
        assert f"; got {words[1]}. Give" in said


def test_evaluate_video_never_replaces_its_model(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words, before = ["video", "--data", str(tmp_path), "--model", str(model)], model.read_bytes()
    assert evaluate.main([*words, "--json", str(model)]) == 2
    assert "would replace an input; name another file" in capsys.readouterr().err
    assert evaluate.main([*words, "--json", str(tmp_path / "a.csv")]) == 2
    assert "--json must end in .json" in capsys.readouterr().err
    assert model.read_bytes() == before
