"""`harmonize_video`: what is drawn, what stays, what is carried through."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from video_clips import (
    HEIGHT,
    LOSSLESS,
    RATE,
    WIDTH,
    decoded,
    disc,
    picture,
    samples,
    write_clip,
    write_pair,
)

from export.tolerances import VIDEO_LUMA_8, VIDEO_LUMA_10
from harmonizer.arguments import Arguments
from harmonizer.harmonizer import Harmonizer
from harmonizer.images.files import load_photo
from harmonizer.ops import DEFAULT_FILTERS
from harmonizer.recipes import Recipe, Tools
from harmonizer.renderer import CpuRenderer
from harmonizer.video import OFF, Encoding, Inputs, Job, VideoError, harmonize_video
from harmonizer.video.colour import Colour, Converter, wide_colours
from harmonizer.video.job import Report
from harmonizer.video.planes import views

BRIGHT = Recipe(Arguments(DEFAULT_FILTERS, (0.1, 0.3, 0.2, 0.2, -0.1, 0.1)))
EXACT = Encoding(options=LOSSLESS, crf=0)


def run(inputs: Inputs, output: Path, **settings: object) -> Report:
    settings.setdefault("recipe", BRIGHT)
    settings.setdefault("encoding", EXACT)
    job = Job(smoothing=OFF, **settings)  # type: ignore[arg-type]
    return harmonize_video(Tools(CpuRenderer(1)), inputs, output, job)


def test_video_background_is_the_inputs_own_samples_and_foreground_is_drawn(
    tmp_path: Path,
) -> None:
    composite, mask = write_pair(tmp_path)
    report = run(Inputs(composite, mask), tmp_path / "o.mp4")
    assert (report.frames, report.drawn, report.codec) == (8, 8, "libx264")
    for index, (before, after) in enumerate(
        zip(decoded(composite), decoded(tmp_path / "o.mp4"), strict=True)
    ):
        luma, chroma, _ = samples(before)
        new_luma, new_chroma, _ = samples(after)
        # What the coder left of the soft edge is not known here: stay two pixels away from it.
        outside = disc(index) == 0
        far = outside & np.roll(outside, 3, 1) & np.roll(outside, -3, 1)
        assert far.any()
        np.testing.assert_array_equal(luma[far], new_luma[far])
        blocks = far.reshape(HEIGHT // 2, 2, WIDTH // 2, 2).all(axis=(1, 3))
        np.testing.assert_array_equal(chroma[blocks], new_chroma[blocks])
        inside = disc(index) == 255
        assert (new_luma[inside].astype(int) - luma[inside]).mean() > 10


@pytest.mark.parametrize(
    ("pixel_format", "tags", "codec"),
    [
        ("yuv420p", (1, 1, 1, 1), "libx264"),
        ("yuv420p", (6, 1, 6, 6), "libx264"),
        ("yuv444p", (1, 2, 1, 1), "libx264"),
        ("yuv422p", (5, 1, 5, 6), "libx264"),
        ("yuv420p10le", (9, 1, 9, 14), "libx265"),
    ],
)
def test_video_colours_match_drawing_the_displayed_picture(
    tmp_path: Path, pixel_format: str, tags: tuple[int, int, int, int], codec: str
) -> None:
    composite = tmp_path / "c.mkv"
    options = LOSSLESS if codec == "libx264" else {"x265-params": "lossless=1:log-level=none"}
    write_clip(
        composite,
        [picture(0)] * 2,
        codec=codec,
        pixel_format=pixel_format,
        tags=tags,
        options=dict(options),
    )
    Image.fromarray(np.full((HEIGHT, WIDTH), 255, np.uint8)).save(tmp_path / "m.png")
    job = {} if codec == "libx264" else {"x265-params": "lossless=1:log-level=none"}
    encoding = EXACT if codec == "libx264" else Encoding(options=job)
    run(Inputs(composite, tmp_path / "m.png"), tmp_path / "o.mkv", encoding=encoding)
    before, after = decoded(composite)[0], decoded(tmp_path / "o.mkv")[0]
    assert after.format.name.replace("yuvj", "yuv") == pixel_format
    found = (after.colorspace, after.color_range, after.color_primaries, after.color_trc)
    assert found == (
        before.colorspace,
        before.color_range,
        before.color_primaries,
        before.color_trc,
    )
    assert found == tags
    # The other way: convert both to RGB with the tags, and draw the one.
    matrix = {9: 9, 1: 1}.get(tags[0], 5)
    shown = [
        frame.to_ndarray(
            format="rgb24",
            src_colorspace=matrix,
            dst_colorspace=matrix,
            src_color_range=tags[1],
            dst_color_range=2,
        )
        for frame in (before, after)
    ]
    renderer = CpuRenderer(1)
    assert BRIGHT.given is not None
    drawn = renderer.draw(shown[0], None, renderer.measure(shown[0], BRIGHT.given))
    difference = np.abs(shown[1].astype(int) - drawn).mean()
    # Chroma that pixels share, and the conversions' rounding.
    assert difference < (6.0 if "420" in pixel_format or "422" in pixel_format else 1.5)
    assert np.abs(shown[1].astype(int) - shown[0]).mean() > 10


def test_video_keeps_variable_timestamps_aspect_audio_and_metadata(tmp_path: Path) -> None:
    times = [0, 40, 60, 200, 210, 400]
    composite, mask = tmp_path / "c.mkv", tmp_path / "m.mkv"
    settings = {"times": times, "time_base": Fraction(1, 1000)}
    write_clip(
        composite,
        map(picture, range(6)),
        aspect=Fraction(4, 3),
        audio=True,
        metadata={"title": "A title"},
        **settings,  # type: ignore[arg-type]
    )
    write_clip(mask, map(disc, range(6)), **settings)  # type: ignore[arg-type]
    run(Inputs(composite, mask), tmp_path / "o.mp4")
    with av.open(str(tmp_path / "o.mp4")) as out, av.open(str(composite)) as source:
        assert out.metadata["title"] == "A title"
        assert out.streams.video[0].sample_aspect_ratio == Fraction(4, 3)
        old = [bytes(p) for p in source.demux(audio=0) if p.dts is not None]
        new = [bytes(p) for p in out.demux(audio=0) if p.dts is not None]
        assert old == new
    found = [round(1000 * frame.time) for frame in decoded(tmp_path / "o.mp4")]
    assert [time - found[0] for time in found] == times


def test_video_rotation_is_kept_and_the_mask_is_turned_to_it(tmp_path: Path) -> None:
    composite = write_clip(tmp_path / "c.mp4", map(picture, range(3)), turn=90)
    upright = np.rot90(disc(0), 1)
    Image.fromarray(np.ascontiguousarray(upright)).save(tmp_path / "m.png")
    run(Inputs(composite, tmp_path / "m.png"), tmp_path / "o.mp4")
    before, after = decoded(composite)[0], decoded(tmp_path / "o.mp4")[0]
    assert before.rotation == after.rotation == 90
    changed = samples(before)[0] != samples(after)[0]
    assert changed[disc(0) == 255].mean() > 0.9
    assert not changed[disc(0) == 0].any()


def test_video_foreground_over_background_of_another_rate_is_matched_by_time(
    tmp_path: Path,
) -> None:
    foreground = write_clip(tmp_path / "f.mp4", map(picture, range(10)))
    shades = [np.full((HEIGHT, WIDTH, 3), 20 * i, np.uint8) for i in range(5)]
    background = write_clip(tmp_path / "b.mp4", shades, rate=RATE // 2, times=None)
    mask = write_clip(tmp_path / "m.mp4", [disc(0)] * 10)
    recipe = Recipe(Arguments.identity())
    run(Inputs(foreground, mask, background), tmp_path / "o.mp4", recipe=recipe)
    corners = [int(samples(frame)[0][0, -1]) for frame in decoded(tmp_path / "o.mp4")]
    own = [int(samples(frame)[0][0, 0]) for frame in decoded(background)]
    # 25 against 12 frames a second: the nearest in time.
    nearest = [min(range(5), key=lambda j: (abs(j / 12 - i / 25), -j)) for i in range(10)]
    assert corners == [own[j] for j in nearest]
    centre = [samples(frame)[0][HEIGHT // 2, WIDTH // 3] for frame in decoded(tmp_path / "o.mp4")]
    assert centre == [samples(frame)[0][HEIGHT // 2, WIDTH // 3] for frame in decoded(foreground)]


def test_video_still_background_and_still_foreground(tmp_path: Path) -> None:
    moving = write_clip(tmp_path / "v.mp4", map(picture, range(4)))
    Image.fromarray(picture(50)).save(tmp_path / "still.png")
    Image.fromarray(np.dstack([picture(50), disc(0)])).save(tmp_path / "rgba.png")
    Image.fromarray(disc(0)).save(tmp_path / "m.png")
    recipe = Recipe(Arguments.identity())
    run(
        Inputs(moving, tmp_path / "m.png", tmp_path / "still.png"),
        tmp_path / "o.mp4",
        recipe=recipe,
    )
    own, out = decoded(moving)[2], decoded(tmp_path / "o.mp4")[2]
    inside = disc(0) == 255
    np.testing.assert_array_equal(samples(own)[0][inside], samples(out)[0][inside])
    run(Inputs(tmp_path / "rgba.png", None, moving), tmp_path / "p.mp4", recipe=recipe)
    out = decoded(tmp_path / "p.mp4")[2]
    outside = disc(0) == 0
    np.testing.assert_array_equal(samples(own)[0][outside], samples(out)[0][outside])
    assert (samples(own)[0][inside] != samples(out)[0][inside]).mean() > 0.5


def test_video_alpha_channel_is_the_mask_and_can_be_kept(tmp_path: Path) -> None:
    frames = [np.dstack([picture(i), disc(i)]) for i in range(4)]
    composite = write_clip(tmp_path / "c.mkv", frames, codec="ffv1", pixel_format="yuva420p")
    kept = Encoding(codec="ffv1")
    run(Inputs(composite), tmp_path / "o.mkv", encoding=kept)
    before, after = decoded(composite)[1], decoded(tmp_path / "o.mkv")[1]
    assert after.format.name == "yuva420p"
    np.testing.assert_array_equal(samples(before)[3], samples(after)[3])
    changed = samples(before)[0] != samples(after)[0]
    assert changed[disc(1) == 255].mean() > 0.9
    assert not changed[disc(1) == 0].any()
    report = run(Inputs(composite), tmp_path / "o.mp4")
    assert decoded(tmp_path / "o.mp4")[0].format.name == "yuv420p"
    assert any("yuva420p is converted to yuv420p" in note for note in report.notes)


def test_video_vp9_alpha_is_seen(tmp_path: Path) -> None:
    frames = [np.dstack([picture(i), disc(i)]) for i in range(3)]
    composite = tmp_path / "c.webm"
    with av.open(str(composite), "w") as container:
        stream = container.add_stream("libvpx-vp9", rate=RATE, options={"lossless": "1"})
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, "yuva420p"
        stream.metadata["alpha_mode"] = "1"
        for index, array in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(array, "rgba").reformat(format="yuva420p")
            frame.pts, frame.time_base = index, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    report = run(Inputs(composite), tmp_path / "o.mp4")
    assert (report.frames, report.drawn) == (3, 3)


def test_video_image_sequences_need_a_rate(tmp_path: Path) -> None:
    for index in range(4):
        for folder, array in (("c", picture(index)), ("m", disc(index))):
            (tmp_path / folder).mkdir(exist_ok=True)
            Image.fromarray(array).save(tmp_path / folder / f"f{index:03d}.png")
    with pytest.raises(VideoError, match=r"must have a frame rate.*`rate=25`"):
        run(Inputs(tmp_path / "c", tmp_path / "m"), tmp_path / "o.mp4")
    inputs = Inputs(tmp_path / "c" / "f%03d.png", tmp_path / "m", rate=Fraction(24))
    report = run(inputs, tmp_path / "o.mp4")
    assert (report.frames, report.drawn) == (4, 4)
    found = decoded(tmp_path / "o.mp4")
    assert [frame.time for frame in found] == pytest.approx([i / 24 for i in range(4)])
    assert (found[0].colorspace, found[0].color_range) == (1, 1)


def test_video_with_the_network_equals_the_image_pipeline(tmp_path: Path, model: Path) -> None:
    """Frame by frame, without smoothing, in RGB throughout."""
    composite = write_clip(
        tmp_path / "c.mkv",
        map(picture, range(3)),
        codec="libx264rgb",
        pixel_format="rgb24",
        tags=(0, 2, 1, 1),
        options=dict(LOSSLESS),
    )
    mask = write_clip(
        tmp_path / "m.mkv",
        map(disc, range(3)),
        codec="ffv1",
        pixel_format="gray",
        tags=(2, 2, 2, 2),
    )
    with Harmonizer(model, "cpu", 1) as harmonizer:
        job = Job(smoothing=OFF, encoding=Encoding("libx264rgb", crf=0))
        tools = Tools(harmonizer.renderer, harmonizer)
        inputs = Inputs(composite, mask)
        harmonize_video(tools, inputs, tmp_path / "o.mkv", job)
        for index, frame in enumerate(decoded(tmp_path / "o.mkv")):
            soft = (disc(index).astype(float) - 8) * 255 / 239
            coverage = np.floor(np.clip(soft, 0, 255) + 0.5).astype(np.uint8)
            expected = harmonizer(picture(index), coverage)
            np.testing.assert_array_equal(frame.to_ndarray(format="rgb24"), expected)


@pytest.mark.parametrize(
    ("name", "limit"), [("yuv420p", VIDEO_LUMA_8), ("yuv420p10le", VIDEO_LUMA_10)]
)
@pytest.mark.parametrize("matrix", [1, 5, 9])
def test_video_luma_survives_the_way_to_rgb_and_back(name: str, limit: float, matrix: int) -> None:
    """libswscale's fast paths are off by a level; its 16-bit white is not 65535."""
    converter, colour = Converter(), Colour(matrix)
    pixels = picture(0, 128, 96)
    deep = name.endswith("10le")
    rgb = pixels.astype(np.uint16) * np.uint16(257) if deep else pixels
    frame = converter.from_rgb(rgb, name, colour)
    again = converter.from_rgb(converter.to_rgb(frame, colour), name, colour)
    difference = np.abs(samples(frame)[0].astype(int) - samples(again)[0]).mean()
    assert difference <= limit
    white = converter.from_rgb(np.full_like(rgb, np.iinfo(rgb.dtype).max), name, colour)
    assert set(samples(white)[0].ravel()) == {940 if deep else 235}
    assert converter.to_rgb(white, colour).min() == np.iinfo(rgb.dtype).max


@pytest.mark.parametrize(
    ("name", "settings", "codec", "pixel_format"),
    [
        ("o.mp4", {}, "libx265", "yuv420p10le"),
        ("o.mov", {"codec": "prores_ks"}, "prores_ks", "yuv422p10le"),
        ("o.webm", {}, "libvpx-vp9", "yuv420p"),
        ("o.ts", {"codec": "libx264", "pixel_format": "yuv420p"}, "libx264", "yuv420p"),
        ("o.avi", {"pixel_format": "yuv420p"}, "mpeg4", "yuv420p"),
        ("o.mkv", {"codec": "libx264", "pixel_format": "nv12"}, "libx264", "yuv420p"),
    ],
)
def test_video_of_10_bits_in_every_container(
    tmp_path: Path, name: str, settings: dict[str, str], codec: str, pixel_format: str
) -> None:
    composite = write_clip(
        tmp_path / "c.mkv",
        map(picture, range(5)),
        codec="libx265",
        pixel_format="yuv420p10le",
        tags=(9, 1, 9, 16),
        options={"x265-params": "log-level=none"},
    )
    Image.fromarray(disc(0)).save(tmp_path / "m.png")
    inputs = Inputs(composite, tmp_path / "m.png")
    report = run(inputs, tmp_path / name, encoding=Encoding(**settings))  # type: ignore[arg-type]
    frames = decoded(tmp_path / name)
    assert (report.codec, len(frames)) == (codec, 5)
    if codec == "libvpx-vp9" and av.Codec(codec, "w").video_formats:
        # Whether libvpx has 10 bits depends on how it was built; the note says what happens.
        names = [f.name for f in av.Codec(codec, "w").video_formats or ()]
        pixel_format = "yuv420p10le" if "yuv420p10le" in names else "yuv420p"
        assert any("is converted to" in n for n in report.notes) == (pixel_format == "yuv420p")
    assert frames[0].format.name == pixel_format
    assert any("is PQ" in note for note in report.notes)


@pytest.mark.parametrize(
    ("primaries", "transfer", "said"),
    [
        (12, 13, "its colours (Display P3) are converted to sRGB for the filters, and back"),
        (9, 14, "its colours (BT.2020) are converted to sRGB for the filters, and back"),
        (9, 18, "is HLG (ARIB STD-B67); the filters run on its encoded values"),
        (1, 1, ""),
    ],
)
def test_colours_of_a_video_that_are_not_srgbs_are_said_and_stay(
    primaries: int, transfer: int, said: str, tmp_path: Path
) -> None:
    tags = (1, 1, primaries, transfer)
    composite = write_clip(tmp_path / "c.mp4", map(picture, range(3)), tags=tags)
    Image.fromarray(disc(0)).save(tmp_path / "m.png")
    report = run(Inputs(composite, tmp_path / "m.png"), tmp_path / "o.mp4")
    notes = [note for note in report.notes if "its colours" in note or "encoded values" in note]
    assert [said in note for note in notes] == [True] * bool(said)
    frame = decoded(tmp_path / "o.mp4")[0]
    assert (int(frame.color_primaries), int(frame.color_trc)) == (primaries, transfer)


def test_video_in_display_p3_looks_like_the_same_in_srgb(tmp_path: Path) -> None:
    wide = wide_colours(Colour(1, 1, 12, 13))
    assert wide is not None
    muted = [(0.5 * picture(i) + 60).astype(np.uint8) for i in range(3)]  # within both
    there = [wide.from_srgb(frame) for frame in muted]
    Image.fromarray(disc(0)).save(tmp_path / "m.png")
    shown = []
    for name, frames, tags in (("s", muted, (0, 2, 1, 13)), ("w", there, (0, 2, 12, 13))):
        clip = write_clip(
            tmp_path / f"{name}.mkv", frames, codec="ffv1", pixel_format="gbrp10le", tags=tags
        )
        report = run(
            Inputs(clip, tmp_path / "m.png"),
            tmp_path / f"o{name}.mkv",
            encoding=Encoding("ffv1", pixel_format="gbrp10le"),
        )
        assert report.drawn == 3
        before, after = decoded(clip)[1], decoded(tmp_path / f"o{name}.mkv")[1]
        for own, new in zip(views(before), views(after), strict=True):
            np.testing.assert_array_equal(own[disc(0) == 0], new[disc(0) == 0])
        pixels = Converter().to_rgb(after, Colour(0, 2))
        shown.append(pixels if name == "s" else wide.to_srgb(pixels))
    differences = np.abs(shown[0].astype(int) - shown[1])[disc(0) == 255]
    assert differences.max() < 3 * 257, differences.max() / 257
    moved = np.abs(shown[0].astype(int) - muted[1].astype(int) * 257)[disc(0) == 255]
    assert moved.mean() > 5 * 257
    kept = run(
        Inputs(clip, tmp_path / "m.png", colour_management=False),
        tmp_path / "k%d.png",
        encoding=Encoding(),
    )
    assert any("are kept as they are: look at the result" in note for note in kept.notes)
    run(Inputs(clip, tmp_path / "m.png"), tmp_path / "p%d.png", encoding=Encoding())
    assert load_photo(tmp_path / "p0.png", colour_management=True).colours is not None
