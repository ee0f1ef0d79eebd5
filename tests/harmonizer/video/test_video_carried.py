"""What is carried through beside the pictures: captions, fields, alpha, mirroring, rates."""

import re
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from video_clips import HEIGHT, LOSSLESS, RATE, WIDTH, decoded, disc, picture, samples, write_clip

from harmonizer.arguments import Arguments
from harmonizer.recipes import Recipe, Tools
from harmonizer.renderer import CpuRenderer
from harmonizer.video import OFF, Encoding, Inputs, Job, VideoError, harmonize_video
from harmonizer.video.job import Report
from harmonizer.video.libav import open_container
from harmonizer.video.orientation import Orientation, orientation_of

BRIGHT = Recipe(Arguments.identity(), overrides={"brightness": 0.4})


def run(inputs: Inputs, output: Path, **settings: object) -> Report:
    settings.setdefault("recipe", BRIGHT)
    job = Job(smoothing=OFF, **settings)  # type: ignore[arg-type]
    return harmonize_video(Tools(CpuRenderer(1)), inputs, output, job)


@pytest.fixture
def mask(tmp_path: Path) -> Path:
    Image.fromarray(disc(0)).save(tmp_path / "m.png")
    return tmp_path / "m.png"


def caption(number: int) -> bytes:
    """A supplemental NAL unit of H.264 with one pair of closed captions (ATSC A/53, part 4)."""
    pair = bytes([0xFC, 0x94, 0x20 + number])
    payload = b"\xb5\x00\x31GA94\x03\x41\xff" + pair + b"\xff"
    return b"\x00\x00\x00\x01\x06\x04" + bytes([len(payload)]) + payload + b"\x80"


def write_captioned(path: Path, count: int) -> Path:
    """A raw H.264 stream with a caption in every frame, which PyAV alone cannot write."""
    context = av.CodecContext.create("libx264", "w")
    context.width, context.height, context.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    context.time_base, context.framerate = Fraction(1, RATE), RATE
    context.options = {"bf": "0", "crf": "10", "x264-params": "repeat-headers=1:annexb=1"}
    stream = b""
    for index in [*range(count), None]:
        frame = None
        if index is not None:
            frame = av.VideoFrame.from_ndarray(picture(index), "rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = index, Fraction(1, RATE)
        for packet in context.encode(frame):
            data = bytes(packet)
            slices = (m.start() for m in re.finditer(b"\x00\x00\x01", data))
            first = next(at for at in slices if data[at + 3] & 31 in (1, 5))
            number = data.count(b"GA94") + stream.count(b"GA94")
            stream += data[:first] + caption(number) + data[first:]
    path.write_bytes(stream)
    return path


def captions(path: Path) -> list[bytes]:
    found = (frame.side_data.get("A53_CC") for frame in decoded(path))
    return [bytes(data) for data in found if data is not None]


@pytest.mark.parametrize("codec", ["libx264", "libx265", "ffv1"])
@pytest.mark.parametrize("composed", [False, True])
def test_captions_stay_on_drawn_frames_or_their_loss_is_said(
    tmp_path: Path, mask: Path, codec: str, composed: bool
) -> None:
    clip = write_captioned(tmp_path / "c.h264", 4)
    assert len(captions(clip)) == 4
    Image.fromarray(picture(40)).save(tmp_path / "b.png")
    background = tmp_path / "b.png" if composed else None
    inputs = Inputs(clip, mask, background, rate=Fraction(RATE))
    report = run(inputs, tmp_path / "o.mkv", encoding=Encoding(codec, preset=None))
    assert report.drawn == 4
    lost = any("closed captions" in note for note in report.notes)
    assert lost == (codec == "ffv1")
    assert captions(tmp_path / "o.mkv") == ([] if lost else captions(clip))


@pytest.mark.parametrize(("name", "stays"), [("o.mkv", True), ("o.webm", False)])
def test_fields_stay_where_the_encoder_has_them(
    tmp_path: Path, mask: Path, name: str, stays: bool
) -> None:
    fields = {"flags": "+ildct+ilme", "x264-params": "tff=1", **LOSSLESS}
    clip = write_clip(tmp_path / "c.mkv", map(picture, range(4)), options=fields)
    assert decoded(clip)[0].interlaced_frame
    report = run(Inputs(clip, mask), tmp_path / name)
    assert decoded(tmp_path / name)[0].interlaced_frame == stays
    assert any("says progressive" in note for note in report.notes) != stays


def test_alpha_is_kept_by_an_encoder_that_was_named(tmp_path: Path) -> None:
    frames = [np.dstack([picture(i), disc(i)]) for i in range(3)]
    settings = {"codec": "prores_ks", "pixel_format": "yuva444p10le"}
    clip = write_clip(tmp_path / "c.mov", frames, **settings)  # type: ignore[arg-type]
    run(Inputs(clip), tmp_path / "o.mov", encoding=Encoding("prores_ks"))
    before, after = decoded(clip)[1], decoded(tmp_path / "o.mov")[1]
    assert before.format.name == after.format.name
    difference = samples(before)[3].astype(int) - samples(after)[3]
    assert np.abs(difference).mean() < 8  # of 4095
    report = run(Inputs(clip), tmp_path / "o.mp4")
    assert any("without its alpha" in note for note in report.notes)
    argb = write_clip(tmp_path / "q.mov", frames, codec="qtrle", pixel_format="argb")
    run(Inputs(argb), tmp_path / "p.mov", encoding=Encoding("qtrle"))
    shown = decoded(tmp_path / "p.mov")[1].to_ndarray(format="rgba")
    np.testing.assert_array_equal(shown[..., 3], disc(1))
    np.testing.assert_array_equal(shown[disc(1) == 0][:, :3], picture(1)[disc(1) == 0])


ONE = 1 << 16


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        ((ONE, 0, 0, ONE), Orientation()),
        ((0, -ONE, ONE, 0), Orientation(True, True, False)),
        ((-ONE, 0, 0, -ONE), Orientation(False, True, True)),
        ((0, ONE, -ONE, 0), Orientation(True, False, True)),
        ((-ONE, 0, 0, ONE), Orientation(False, False, True)),
        ((ONE, 0, 0, -ONE), Orientation(False, True, False)),
        ((0, ONE, ONE, 0), Orientation(True, False, False)),
    ],
)
def test_every_orientation_is_read_and_carried(
    tmp_path: Path, matrix: tuple[int, int, int, int], expected: Orientation
) -> None:
    """Mirrored pictures, too: the mask file is as the picture is displayed."""
    a, b, c, d = matrix
    whole = [a, b, 0, c, d, 0, 0, 0, 1 << 30]
    clip = tmp_path / "c.mp4"
    with av.open(str(clip), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options=dict(LOSSLESS))
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, "yuv420p"
        stream.set_display_matrix(whole)
        frame = av.VideoFrame.from_ndarray(picture(0), "rgb24").reformat(format="yuv420p")
        frame.pts = 0
        container.mux([*stream.encode(frame), *stream.encode(None)])
    before = decoded(clip)[0]
    found = orientation_of(before, clip)
    assert found == expected
    if expected.swapped != (expected.upside_down != expected.mirrored):
        return  # a mirrored one: PyAV says its rotation alone
    if found.swapped or found.upside_down:
        np.testing.assert_array_equal(
            found.upright(disc(0)), np.rot90(disc(0), before.rotation // 90 % 4)
        )


def test_mirrored_video_takes_its_mask_as_displayed(tmp_path: Path) -> None:
    clip = tmp_path / "c.mp4"
    with av.open(str(clip), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options=dict(LOSSLESS))
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, "yuv420p"
        stream.set_display_matrix([-ONE, 0, 0, 0, ONE, 0, 0, 0, 1 << 30])
        for index in range(2):
            frame = av.VideoFrame.from_ndarray(picture(index), "rgb24").reformat(format="yuv420p")
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    Image.fromarray(disc(0)[:, ::-1]).save(tmp_path / "m.png")
    encoding = Encoding(options=LOSSLESS, crf=0)
    run(Inputs(clip, tmp_path / "m.png"), tmp_path / "o.mp4", encoding=encoding)
    before, after = decoded(clip)[0], decoded(tmp_path / "o.mp4")[0]
    changed = samples(before)[0] != samples(after)[0]
    assert changed[disc(0) == 255].mean() > 0.9 and not changed[disc(0) == 0].any()
    assert bytes(after.side_data.get("DISPLAYMATRIX")) == bytes(
        before.side_data.get("DISPLAYMATRIX")
    )


def test_avi_counts_frames_and_refuses_what_has_no_constant_rate(
    tmp_path: Path, mask: Path
) -> None:
    millis = {"time_base": Fraction(1, 1000)}
    film = [0, 42, 83, 125, 167, 208]
    clip = write_clip(tmp_path / "c.mkv", map(picture, range(6)), rate=24, times=film, **millis)
    run(Inputs(clip, mask), tmp_path / "o.avi")
    with av.open(str(tmp_path / "o.avi")) as container:
        assert container.streams.video[0].average_rate == 24
        assert container.streams.video[0].frames == 6
    uneven = [0, 42, 63, 125, 167, 208]
    clip = write_clip(tmp_path / "d.mkv", map(picture, range(6)), rate=24, times=uneven, **millis)
    with pytest.raises(VideoError, match=r"constant frame rate.*Write \.mkv"):
        run(Inputs(clip, mask), tmp_path / "p.avi")
    assert not (tmp_path / "p.avi").exists()


@pytest.mark.parametrize("suffix", [".avi", ".ts"])
def test_rotation_that_the_container_cannot_hold_is_refused(tmp_path: Path, suffix: str) -> None:
    clip = write_clip(tmp_path / "c.mp4", [picture(0)] * 2, turn=90)
    Image.fromarray(np.ascontiguousarray(np.rot90(disc(0)))).save(tmp_path / "m.png")
    with pytest.raises(VideoError, match=r"hold the rotation.*Write \.mp4"):
        run(Inputs(clip, tmp_path / "m.png"), tmp_path / f"o{suffix}")


def test_subtitles_that_a_transport_stream_has_no_type_for_are_refused(
    tmp_path: Path, mask: Path
) -> None:
    clip = write_clip(tmp_path / "c.mkv", map(picture, range(4)))
    (tmp_path / "s.srt").write_text("1\n00:00:00,000 --> 00:00:00,100\nHello\n")
    both = tmp_path / "b.mkv"
    with (
        av.open(str(both), "w") as out,
        av.open(str(clip)) as video,
        av.open(str(tmp_path / "s.srt")) as text,
    ):
        streams = [out.add_stream_from_template(source.streams[0]) for source in (video, text)]
        out.set_chapters(
            [{"id": 1, "start": 0, "end": 100, "time_base": Fraction(1, 1000), "metadata": {}}]
        )
        for source, stream in zip((video, text), streams, strict=True):
            for packet in source.demux():
                if packet.dts is not None:
                    packet.stream = stream
                    out.mux(packet)
    with pytest.raises(VideoError, match=r"subtitle stream \(subrip\).*'subtitle' out of `copied`"):
        run(Inputs(both, mask), tmp_path / "o.ts")
    report = run(Inputs(both, mask, copied=("audio",)), tmp_path / "o.ts")
    assert any("no chapters" in note for note in report.notes)
    run(Inputs(both, mask), tmp_path / "o.mkv")
    with av.open(str(tmp_path / "o.mkv")) as out:
        assert len(out.chapters()) == 1
        assert [bytes(p) for p in out.demux(subtitles=0) if p.size] == [b"Hello"]


def test_a_stream_of_an_unknown_codec_is_refused_or_left_out_with_a_note(
    tmp_path: Path, mask: Path
) -> None:
    with av.open(str(tmp_path / "c.mkv"), "w") as out:
        video = out.add_stream("libx264", rate=RATE)
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        sound = out.add_stream("pcm_s16le", rate=8000)
        sound.layout = "mono"  # type: ignore[assignment]
        for index in range(4):
            frame = av.VideoFrame.from_ndarray(picture(index), "rgb24")
            frame.pts = index
            out.mux(video.encode(frame))
            noise = av.AudioFrame.from_ndarray(np.zeros((1, 320), np.int16), "s16", "mono")
            noise.sample_rate, noise.pts = 8000, 320 * index
            out.mux(sound.encode(noise))
        out.mux(video.encode(None))
        out.mux(sound.encode(None))
    known = (tmp_path / "c.mkv").read_bytes()
    assert known.count(b"A_PCM/INT/LIT") == 1
    (tmp_path / "c.mkv").write_bytes(known.replace(b"A_PCM/INT/LIT", b"A_XYZ/INT/LIT"))
    with pytest.raises(VideoError, match=r"audio stream.*unknown one.*'audio' out of `copied`"):
        run(Inputs(tmp_path / "c.mkv", mask), tmp_path / "o.mkv")
    report = run(Inputs(tmp_path / "c.mkv", mask, copied=()), tmp_path / "o.mkv")
    assert report.frames == 4
    assert any("audio" in note for note in report.notes)


def test_tags_that_are_not_utf8_are_copied_as_they_are(tmp_path: Path, mask: Path) -> None:
    with av.open(str(write_clip(tmp_path / "c.mkv", [picture(0)] * 2))) as clip:
        packets = list(clip.demux(video=0))
        with open_container(tmp_path / "t.mkv", "w") as out:
            stream = out.add_stream_from_template(clip.streams.video[0])
            out.metadata["title"] = "Caf\udce9"
            for packet in packets:
                if packet.dts is not None:
                    packet.stream = stream
                    out.mux(packet)
    run(Inputs(tmp_path / "t.mkv", mask), tmp_path / "o.mkv")
    assert b"Caf\xe9" in (tmp_path / "o.mkv").read_bytes()


@pytest.mark.parametrize(
    ("name", "encoding", "kept"),
    [
        ("o.mkv", Encoding(), True),
        ("o.mp4", Encoding("libvpx-vp9"), True),
        ("o.webm", Encoding(), False),
        ("o.mkv", Encoding("ffv1"), False),
    ],
)
def test_pixels_that_are_not_square_stay_so_or_are_refused(
    tmp_path: Path, mask: Path, name: str, encoding: Encoding, kept: bool
) -> None:
    clip = write_clip(tmp_path / "c.mkv", [picture(0)] * 2, aspect=Fraction(4, 3))
    if not kept:
        with pytest.raises(VideoError, match=r"pixels are 4/3 as wide as high.*\.mp4"):
            run(Inputs(clip, mask), tmp_path / name, encoding=encoding)
        return
    run(Inputs(clip, mask), tmp_path / name, encoding=encoding)
    with av.open(str(tmp_path / name)) as container:
        assert container.streams.video[0].sample_aspect_ratio == Fraction(4, 3)
