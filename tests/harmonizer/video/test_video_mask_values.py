"""What masks of videos are taken for: scales, frames that are faint, sides that are swapped."""

from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from video_clips import disc, picture, write_clip

from harmonizer.arguments import Arguments
from harmonizer.errors import ImageFileError
from harmonizer.harmonizer import Harmonizer
from harmonizer.masks import Levels
from harmonizer.ops import DEFAULT_FILTERS
from harmonizer.recipes import Recipe, Tools
from harmonizer.renderer import CpuRenderer
from harmonizer.video import OFF, Inputs, Job, Smoothing, VideoError, harmonize_video
from harmonizer.video import frames as video_frames
from harmonizer.video.masks import PATIENCE, Brightness

BRIGHT = Recipe(Arguments(DEFAULT_FILTERS, (0.1, 0.3, 0.2, 0.2, -0.1, 0.1)))


def video(folder: Path, masks: list[NDArray[np.uint8]], **settings: Any) -> Inputs:
    composite = write_clip(folder / "c.mp4", map(picture, range(len(masks))))
    mask = write_clip(folder / "m.mkv", masks, codec="ffv1", pixel_format="gray", tags=(1, 2, 1, 1))
    return Inputs(composite, mask, **settings)


@pytest.mark.parametrize("white", [1, 2, 15, 100])
def test_video_mask_of_another_scale_is_refused_and_levels_spread_it(
    white: int, tmp_path: Path
) -> None:
    masks = [(disc(i) > 127).astype(np.uint8) * white for i in range(4)]
    tools, job = Tools(CpuRenderer(1)), Job(BRIGHT, OFF)
    with pytest.raises(VideoError, match=rf"is {white}, .*`mask_levels=\(0, {white}\)`;"):
        harmonize_video(tools, video(tmp_path, masks), tmp_path / "o.mp4", job)
    assert not (tmp_path / "o.mp4").exists()
    inputs = video(tmp_path, masks, mask_levels=Levels(0, white))
    assert harmonize_video(tools, inputs, tmp_path / "o.mp4", job).drawn == 4


def test_video_mask_images_of_another_scale_are_refused(tmp_path: Path) -> None:
    composite = write_clip(tmp_path / "c.mp4", map(picture, range(3)))
    (tmp_path / "m").mkdir()
    for index in range(3):
        dark = (disc(index) > 127).astype(np.uint16) * 255
        (tmp_path / "m" / f"{index}.png").write_bytes(imagecodecs.png_encode(dark))
    tools, job = Tools(CpuRenderer(1)), Job(BRIGHT, OFF)
    for mask in ("m", "m/0.png"):
        with pytest.raises((VideoError, ImageFileError), match=r"65535 where.*=\(0, 255\)`"):
            harmonize_video(tools, Inputs(composite, tmp_path / mask), tmp_path / "o.mp4", job)
        inputs = Inputs(composite, tmp_path / mask, mask_levels=Levels(0, 255))
        assert harmonize_video(tools, inputs, tmp_path / "o.mp4", job).drawn == 3


def test_video_mask_that_fades_in_is_taken(tmp_path: Path) -> None:
    masks = [(disc(i) * (0.1 + 0.3 * i)).astype(np.uint8) for i in range(4)]
    report = harmonize_video(
        Tools(CpuRenderer(1)), video(tmp_path, masks), tmp_path / "o.mp4", Job(BRIGHT, OFF)
    )
    assert report.drawn == 4


def test_video_mask_that_stays_faint_is_given_up_early() -> None:
    brightness = Brightness("the mask in m.mp4", given=False)
    for _ in range(PATIENCE - 1):
        brightness.see(100)
    with pytest.raises(VideoError, match="largest value is 100"):
        brightness.see(100)


def test_frames_whose_masks_are_all_faint_are_refused_at_their_end(model: Path) -> None:
    frames = [(picture(i), (disc(i) // 16).astype(np.uint8), i / 25) for i in range(3)]
    said = r"largest value is 15, .*mask_levels=\(0, 15\)"
    with Harmonizer(model, backend="cpu") as harmonizer, pytest.raises(VideoError, match=said):
        list(video_frames.harmonize_frames(harmonizer, frames, Smoothing()))
    with Harmonizer(model, backend="cpu", mask_levels=(0, 15)) as harmonizer:
        assert len(list(video_frames.harmonize_frames(harmonizer, frames, Smoothing()))) == 3


@pytest.mark.parametrize("kind", ["video", "image"])
def test_turned_video_with_unturned_mask_is_refused_even_to_be_fitted(
    kind: str, tmp_path: Path
) -> None:
    composite = write_clip(tmp_path / "c.mp4", map(picture, range(3)), turn=90)
    mask = tmp_path / "m.png"
    Image.fromarray(disc(0)).save(mask)
    if kind == "video":
        mask = write_clip(tmp_path / "m.mp4", map(disc, range(3)))
    tools, job = Tools(CpuRenderer(1)), Job(BRIGHT, OFF)
    for fit in (False, True):
        inputs = Inputs(composite, mask, fit_mask=fit)
        with pytest.raises(VideoError, match=r"64x48 for a 48x64 video.*turn the mask likewise"):
            harmonize_video(tools, inputs, tmp_path / "o.mp4", job)
    assert not (tmp_path / "o.mp4").exists()


def test_video_mask_that_is_scaled_or_not_told_turned_is_noted(tmp_path: Path) -> None:
    tools, job = Tools(CpuRenderer(1)), Job(BRIGHT, OFF)
    composite = write_clip(tmp_path / "c.mp4", map(picture, range(3)))
    small = write_clip(tmp_path / "s.mp4", (disc(i, 32, 32) for i in range(3)))
    inputs = Inputs(composite, small, fit_mask=True)
    report = harmonize_video(tools, inputs, tmp_path / "o.mp4", job)
    assert [note for note in report.notes if "scaled to fit, 1.33 times" in note]
    turned = write_clip(tmp_path / "t.mp4", map(picture, range(3)), turn=180)
    mask = write_clip(tmp_path / "m.mp4", map(disc, range(3)))
    report = harmonize_video(tools, Inputs(turned, mask), tmp_path / "o.mp4", job)
    assert [note for note in report.notes if "as it is displayed" in note]
    (tmp_path / "j").mkdir()
    for index in range(3):
        Image.fromarray(disc(index)).save(tmp_path / "j" / f"{index}.jpg", quality=80)
    report = harmonize_video(tools, Inputs(composite, tmp_path / "j"), tmp_path / "o.mp4", job)
    assert sum("with loss" in note for note in report.notes) == 1
