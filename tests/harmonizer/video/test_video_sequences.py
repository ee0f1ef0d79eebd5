"""Image sequences in and out: numbers as times, gaps, depths, nothing half-written."""

import threading
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import tifffile
from colour_profiles import colours, profile
from PIL import Image
from video_clips import HEIGHT, WIDTH, decoded, disc, picture, samples, write_clip, write_pair

from harmonizer.arguments import Arguments
from harmonizer.cli import main
from harmonizer.errors import HarmonizerError, ImageFileError
from harmonizer.images.files import Photo, load_photo, save_photo
from harmonizer.images.light import to_linear
from harmonizer.recipes import Recipe, Tools
from harmonizer.renderer import CpuRenderer
from harmonizer.video import OFF, Encoding, Inputs, Job, VideoError, harmonize_video
from harmonizer.video.job import Report
from harmonizer.video.sequence import find_sequence, is_sequence

IDENTITY = Recipe(Arguments.identity())
BRIGHT = Recipe(Arguments.identity(), overrides={"brightness": 0.4})
RATE = Fraction(25)


def run(inputs: Inputs, output: Path, **settings: object) -> Report:
    settings.setdefault("recipe", BRIGHT)
    job = Job(smoothing=OFF, **settings)  # type: ignore[arg-type]
    return harmonize_video(Tools(CpuRenderer(1)), inputs, output, job)


def save(folder: Path, numbers: list[int], source: object, name: str = "f{:03d}.png") -> Path:
    folder.mkdir(exist_ok=True)
    for number in numbers:
        Image.fromarray(source(number)).save(folder / name.format(number))  # type: ignore[operator]
    return folder


def test_sequence_numbers_are_times_so_gaps_do_not_shift_the_mask(tmp_path: Path) -> None:
    kept = [10, 11, 14, 15]
    save(tmp_path / "c", kept, picture)
    save(tmp_path / "m", list(range(6)), lambda i: np.full((HEIGHT, WIDTH), 40 * i, np.uint8))
    white = write_clip(tmp_path / "b.mp4", [np.full((HEIGHT, WIDTH, 3), 255, np.uint8)] * 6)
    inputs = Inputs(tmp_path / "c", tmp_path / "m", white, rate=RATE)
    report = run(inputs, tmp_path / "o.mkv", recipe=IDENTITY, encoding=Encoding("ffv1"))
    assert any("2 numbers have no image" in note for note in report.notes)
    frames = decoded(tmp_path / "o.mkv")
    assert [round(25 * frame.time) for frame in frames] == [0, 1, 4, 5]
    for number, frame in zip(kept, frames, strict=True):
        share = 40 * (number - 10) / 255
        expected = picture(number) * share + 255 * (1 - share)
        assert np.abs(frame.to_ndarray(format="rgb24") - expected).mean() < 2


def test_sequence_of_a_folder_is_ordered_by_number(tmp_path: Path) -> None:
    folder = save(tmp_path / "c", [9, 10, 100, 2], picture, "take{}.png")
    (folder / ".hidden.png").touch()
    (folder / "notes.txt").touch()
    assert [*find_sequence(folder)] == [2, 9, 10, 100]
    Image.fromarray(picture(0)).save(folder / "cover3.png")
    with pytest.raises(VideoError, match="2 kinds of names"):
        find_sequence(folder)
    assert [*find_sequence(folder / "take%d.png")] == [2, 9, 10, 100]
    Image.fromarray(picture(0)).save(folder / "take0010.png")
    with pytest.raises(VideoError, match="one image of each number"):
        find_sequence(folder / "take%d.png")


def test_a_video_with_a_percent_sign_in_its_name_is_no_sequence(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "100%done.mp4", [picture(0)] * 2)
    assert not is_sequence(clip)
    Image.fromarray(disc(0)).save(tmp_path / "m.png")
    assert run(Inputs(clip, tmp_path / "m.png"), tmp_path / "o.mp4").frames == 2


def test_damaged_image_is_refused_or_skipped(tmp_path: Path) -> None:
    save(tmp_path / "c", [0, 1, 2, 3], picture)
    (tmp_path / "c" / "f002.png").write_bytes(b"spoilt")
    Image.fromarray(disc(0)).save(tmp_path / "m.png")
    inputs = Inputs(tmp_path / "c", tmp_path / "m.png", rate=RATE)
    with pytest.raises(HarmonizerError, match=r"f002\.png must be"):
        run(inputs, tmp_path / "o.mp4")
    inputs = Inputs(tmp_path / "c", tmp_path / "m.png", rate=RATE, skip_damaged=True)
    report = run(inputs, tmp_path / "o.mp4")
    assert report.frames == 3 and any("1 damaged" in note for note in report.notes)


@pytest.mark.parametrize("deep", [False, True])
def test_images_out_keep_numbers_alpha_and_every_background_value(
    tmp_path: Path, deep: bool
) -> None:
    suffix = "tif" if deep else "png"
    (tmp_path / "c").mkdir()
    sources = {}
    for number in (7, 8, 9):
        pixels = np.dstack([picture(number), disc(number)])
        if deep:
            pixels = pixels.astype(np.uint16) * np.uint16(257)
            pixels[..., :3] |= np.uint16(number)  # values that 8 bits do not hold
        file = tmp_path / "c" / f"shot.{number:04d}.{suffix}"
        save_photo(file, np.ascontiguousarray(pixels[..., :3]), alpha=pixels[..., 3])
        sources[number] = load_photo(file)
    inputs = Inputs(tmp_path / "c", rate=RATE)
    report = run(inputs, tmp_path / "new" / f"out.%04d.{suffix}")
    assert (report.frames, report.drawn, report.written) == (3, 3, True)
    names = [f"out.{number:04d}.{suffix}" for number in sources]
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == names
    for number, source in sources.items():
        drawn = load_photo(tmp_path / "new" / f"out.{number:04d}.{suffix}")
        assert drawn.pixels.dtype == (np.uint16 if deep else np.uint8)
        np.testing.assert_array_equal(drawn.alpha, source.alpha)
        outside, inside = disc(number) == 0, disc(number) == 255
        np.testing.assert_array_equal(drawn.pixels[outside], source.pixels[outside])
        assert drawn.pixels[inside].mean() > 1.1 * source.pixels[inside].mean()


def test_images_of_floats_and_of_other_colours_become_srgb(tmp_path: Path) -> None:
    light = to_linear(picture(0) / 255)
    for number in range(2):
        for kind in ("f", "w"):
            (tmp_path / kind).mkdir(exist_ok=True)
        tifffile.imwrite(tmp_path / f"f/{number}.tif", light * (1 + number), photometric="rgb")
        wide = colours("Display P3").from_srgb(picture(0))
        save_photo(tmp_path / f"w/{number}.png", wide, Photo(wide, icc=profile("Display P3")))
    Image.fromarray(disc(0)).save(tmp_path / "m.png")
    for kind, said in (("f", "scene-linear light"), ("w", "are converted to sRGB")):
        inputs = Inputs(tmp_path / kind, tmp_path / "m.png", rate=RATE)
        report = run(inputs, tmp_path / f"{kind}%d.png", recipe=IDENTITY)
        assert any(said in note for note in report.notes)
        result = load_photo(tmp_path / f"{kind}0.png").pixels
        assert result.dtype == np.uint16
        assert np.abs(result / 257 - picture(0)).max() < 1.5
    with pytest.raises(ImageFileError, match="Leave `colour_management` on"):
        run(
            Inputs(tmp_path / "f", tmp_path / "m.png", rate=RATE, colour_management=False),
            tmp_path / "n%d.png",
        )


@pytest.mark.parametrize("depth", [8, 16])
def test_images_out_of_a_video_are_upright_and_counted(tmp_path: Path, depth: int) -> None:
    composite = write_clip(tmp_path / "c.mp4", [picture(0)] * 3, turn=90, audio=True)
    mask = write_clip(tmp_path / "m.mp4", [disc(0)] * 3, turn=90)
    output = tmp_path / "f%d.png"
    report = run(Inputs(composite, mask), output, recipe=IDENTITY, encoding=Encoding(depth=depth))
    assert any("audio aac stream is not copied" in note for note in report.notes)
    image = load_photo(tmp_path / "f2.png").pixels
    assert image.dtype == (np.uint8 if depth == 8 else np.uint16)
    expected = np.rot90(decoded(composite)[2].to_ndarray(format="rgb24"), 1)
    assert np.abs(image / (257 if depth == 16 else 1) - expected).mean() < 3
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_images_out_are_refused_where_some_are_there(tmp_path: Path) -> None:
    inputs = Inputs(*write_pair(tmp_path, 3))
    Image.fromarray(picture(0)).save(tmp_path / "f0001.png")
    with pytest.raises(VideoError, match=r"not there yet; f0001\.png is"):
        run(inputs, tmp_path / "f%04d.png")
    with pytest.raises(VideoError, match="one %d"):
        run(inputs, tmp_path / "f.png")
    with pytest.raises(VideoError, match="encoder's settings"):
        run(inputs, tmp_path / "g%d.png", encoding=Encoding("libx264"))
    with pytest.raises(VideoError, match="images of 8 or 16 bits; OpenEXR holds floats"):
        run(inputs, tmp_path / "g%d.exr")
    with pytest.raises(VideoError, match="No such file"):
        run(inputs, tmp_path / "no" / "where" / "g%d.png")


@pytest.mark.parametrize("keep", [True, False])
def test_images_out_cancelled_are_kept_or_not_there(tmp_path: Path, keep: bool) -> None:
    inputs = Inputs(*write_pair(tmp_path, 8))
    cancel = threading.Event()

    def progress(name: str, done: int, total: int | None) -> None:
        if done == 3:
            cancel.set()

    job = Job(BRIGHT, on_cancel="keep" if keep else "discard")
    output = tmp_path / "new" / "%03d.png"
    tools = Tools(CpuRenderer(1))
    report = harmonize_video(tools, inputs, output, job, progress=progress, cancel=cancel)
    assert report.written == keep
    found = sorted(p.name for p in output.parent.glob("*"))
    assert found == (["000.png", "001.png", "002.png"] if keep else [])
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "new") == [
        "c.mp4",
        "m.mp4",
    ]
    assert not [t for t in threading.enumerate() if t.name.startswith("hz-")]


def test_images_out_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_pair(tmp_path, 3)
    Arguments.identity().save(tmp_path / "a.json")
    monkeypatch.chdir(tmp_path)
    words = ["video", "c.mp4", "m.mp4", "-o", "out/%05d.tif", "--depth", "16"]
    assert main([*words, "--arguments", "a.json"]) == 0
    assert "wrote: out/%05d.tif (3 frames" in capsys.readouterr().err
    assert load_photo(tmp_path / "out" / "00002.tif").pixels.dtype == np.uint16
    assert main([*words, "--arguments", "a.json"]) == 2
    assert "not there yet" in capsys.readouterr().err


def test_16_bit_images_to_10_bit_video_keep_white_and_grey(tmp_path: Path) -> None:
    """libswscale's own way takes white to 943."""
    from harmonizer.images.files import save_photo

    for number, level in enumerate((65535, 32896)):
        pixels = np.full((HEIGHT, WIDTH, 3), level, np.uint16)
        save_photo(tmp_path / f"f{number}.tif", pixels)
    Image.fromarray(disc(0)).save(tmp_path / "m.png")
    inputs = Inputs(tmp_path / "f%d.tif", tmp_path / "m.png", rate=RATE)
    encoding = Encoding("ffv1", pixel_format="yuv420p10le")
    run(inputs, tmp_path / "o.mkv", recipe=IDENTITY, encoding=encoding)
    found = [samples(frame)[0] for frame in decoded(tmp_path / "o.mkv")]
    assert [(int(luma.min()), int(luma.max())) for luma in found] == [(940, 940), (504, 504)]


@pytest.mark.parametrize(("codec", "count"), [("libx264", 4), ("libx265", 1), ("libx265", 4)])
def test_sequences_of_a_frame_in_some_minutes_or_of_one_frame_are_written(
    tmp_path: Path, codec: str, count: int
) -> None:
    """Whatever the encoder says of decoding times: with reordering they lie minutes back."""
    save(tmp_path / "c", list(range(count)), picture)
    save(tmp_path / "m", list(range(count)), disc)
    rate = Fraction(1, 200)
    inputs = Inputs(tmp_path / "c", tmp_path / "m", rate=rate)
    options = {"x265-params": "log-level=none"} if codec == "libx265" else {}
    run(inputs, tmp_path / "o.mp4", encoding=Encoding(codec, options=options))
    times = [frame.time for frame in decoded(tmp_path / "o.mp4")]
    assert times == [200 * index for index in range(count)]
