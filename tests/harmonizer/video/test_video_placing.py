"""A cut-out that stands still on a video that moves: placed as on a photograph; inverted masks."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import refused
from numpy.typing import NDArray
from PIL import Image
from video_clips import HEIGHT, WIDTH, decoded, disc, picture, write_clip

from harmonizer.arguments import Arguments
from harmonizer.cli import main
from harmonizer.images.cutouts import Placing
from harmonizer.images.files import load_photo
from harmonizer.placement import place
from harmonizer.recipes import Recipe, Tools
from harmonizer.renderer import CpuRenderer
from harmonizer.video import OFF, Inputs, Job, VideoError, harmonize_video
from harmonizer.video.orientation import orientation_of

Array = NDArray[Any]

FRAMES = 3
NOTHING = Job(Recipe(Arguments(("brightness",), (0.0,))), OFF)
SHOWN = ["--set", "brightness=0", "--strength", "0", "--smooth", "off"]


def cutout() -> NDArray[np.uint8]:
    y, x = np.mgrid[:40, :50]
    alpha = np.clip((18 - np.hypot(y - 20, x - 25)) * 60 + 128, 0, 255)
    return np.dstack([np.full((40, 50), 200), 3 * y, 4 * x, alpha]).astype(np.uint8)


@pytest.fixture
def clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(cutout()).save("cut.png")
    return write_clip(
        tmp_path / "b.mkv", map(picture, range(FRAMES)), codec="ffv1", pixel_format="bgr0"
    )


def rgb(path: str) -> list[Array]:
    return [frame.to_ndarray(format="rgb24") for frame in decoded(Path(path))]


@pytest.mark.parametrize(
    ("words", "how"),
    [
        ([], {}),
        (["--at", "30%,80%", "--anchor", "bottom"], {"at": ("30%", "80%"), "anchor": "bottom"}),
        (
            ["--fit", "--scale", "0.5", "--rotate", "30"],
            {"fit": True, "scale": 0.5, "rotation": 30},
        ),
        (["--at", "5,5"], {"at": (5, 5)}),
    ],
)
def test_every_frame_is_what_placing_on_a_photograph_gives(
    words: list[str], how: dict[str, Any], clip: Path
) -> None:
    common = ["--codec", "ffv1", "--pixel-format", "bgr0", *SHOWN]
    assert main(["video", "cut.png", "--background", "b.mkv", "-o", "o.mkv", *words, *common]) == 0
    for before, after in zip(rgb("b.mkv"), rgb("o.mkv"), strict=True):
        placed = place(cutout(), before, **how)
        assert np.abs(after.astype(int) - placed.composite).max() <= 1
        assert np.array_equal(after[placed.mask == 0], before[placed.mask == 0])
        assert (after != before).any()


def test_what_is_drawn_lies_where_it_was_placed(clip: Path) -> None:
    words = ["--at", "70%,50%", "--codec", "ffv1", "--pixel-format", "bgr0", "--smooth", "off"]
    for name, value in (("plain", "0"), ("bright", "0.5")):
        look = ["--set", f"brightness={value}", "--strength", "0"]
        target = ["-o", f"{name}.mkv"]
        assert main(["video", "cut.png", "--background", "b.mkv", *target, *words, *look]) == 0
    for plain, bright, before in zip(
        rgb("plain.mkv"), rgb("bright.mkv"), rgb("b.mkv"), strict=True
    ):
        mask = place(cutout(), before, at=("70%", "50%")).mask
        assert np.array_equal(plain[mask == 0], bright[mask == 0])
        assert (plain != bright).any(axis=2)[mask == 255].mean() > 0.9


def test_a_turned_video_is_placed_on_as_it_is_shown(tmp_path: Path, clip: Path) -> None:
    """Rotation is a tag; the cut-out stands upright in what is displayed."""
    turned = write_clip(
        tmp_path / "t.mp4", map(picture, range(FRAMES)), pixel_format="yuv444p", turn=90
    )
    how = Placing("", ("50%", "100%"), "bottom")
    report = harmonize_video(
        Tools(CpuRenderer(1)),
        Inputs(Path("cut.png"), background=turned, placing=how),
        tmp_path / "o_%03d.png",
        NOTHING,
    )
    assert report.written
    frame = decoded(turned)[0]
    upright = orientation_of(frame, turned).upright(frame.to_ndarray(format="rgb24"))
    assert upright.shape[:2] == (WIDTH, HEIGHT)
    placed = place(cutout(), np.ascontiguousarray(upright), at=how.at, anchor=how.anchor)
    result = load_photo(tmp_path / "o_000.png").pixels
    assert np.abs(result.astype(int) - placed.composite).mean() < 1
    assert np.abs(result.astype(int) - upright)[placed.mask == 255].mean() > 20


def test_options_of_placing_without_a_still_cutout_are_refused(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_clip(tmp_path / "m.mkv", map(disc, range(FRAMES)), codec="ffv1", pixel_format="gray")
    words = ["--at", "1,1", "-o", "o.mkv", *SHOWN]
    said = refused(capsys, 2, "video", "b.mkv", "m.mkv", *words)
    assert "--at puts a cut-out on a background; there is none" in said
    said = refused(capsys, 2, "video", "b.mkv", "m.mkv", "--background", "b.mkv", *words)
    assert "what is placed on a video must be one image" in said
    said = refused(
        capsys, 2, "video", "cut.png", "--background", "b.mkv", "--at", "900,9", *words[2:]
    )
    assert "the foreground must touch the background" in said


@pytest.mark.parametrize("moving", [True, False])
def test_inverted_masks_draw_on_the_rest(moving: bool, clip: Path, tmp_path: Path) -> None:
    masks = [disc(index if moving else 0) for index in range(FRAMES)]
    for name, values in (("m", masks), ("i", [255 - mask for mask in masks])):
        if moving:
            write_clip(
                tmp_path / f"{name}.mkv",
                values,
                codec="ffv1",
                pixel_format="gray",
                tags=(1, 2, 1, 1),
            )
        else:
            Image.fromarray(values[0]).save(f"{name}.png")
    kind = "mkv" if moving else "png"
    look = [
        "--set",
        "brightness=0.4",
        "--strength",
        "0",
        "--smooth",
        "off",
        "--mask-levels",
        "0,255",
    ]
    look += ["--codec", "ffv1", "--pixel-format", "bgr0"]
    assert main(["video", "b.mkv", f"m.{kind}", "-o", "a.mkv", *look]) == 0
    assert main(["video", "b.mkv", f"i.{kind}", "-o", "b2.mkv", *look, "--invert-mask"]) == 0
    assert main(["video", "b.mkv", f"m.{kind}", "-o", "c.mkv", *look, "--invert-mask"]) == 0
    for plain, twice, other in zip(rgb("a.mkv"), rgb("b2.mkv"), rgb("c.mkv"), strict=True):
        assert np.array_equal(plain, twice) and (plain != other).any()


def test_alpha_of_a_cutout_is_inverted_in_its_own_file(clip: Path) -> None:
    turned = cutout()
    turned[..., 3] = 255 - turned[..., 3]
    Image.fromarray(turned).save("turned.png")
    common = ["--codec", "ffv1", "--pixel-format", "bgr0", *SHOWN]
    assert main(["video", "cut.png", "--background", "b.mkv", "-o", "a.mkv", *common]) == 0
    words = ["video", "turned.png", "--background", "b.mkv", "-o", "b2.mkv", "--invert-mask"]
    assert main([*words, *common]) == 0
    assert all(map(np.array_equal, rgb("a.mkv"), rgb("b2.mkv")))
    with pytest.raises(VideoError, match="must be a video or a sequence"):
        harmonize_video(Tools(CpuRenderer(1)), Inputs(Path("cut.png")), "o.mkv", NOTHING)
