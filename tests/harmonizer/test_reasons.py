"""Messages hold the reason of what a library said, and name what a file is instead."""

import re
from pathlib import Path

import onnx
import pytest
from command_line import refused
from PIL import Image
from video_clips import disc, picture, write_clip, write_pair

from harmonizer.cli import main
from harmonizer.engine.files import read_engine_file
from harmonizer.engine.library import quoted
from harmonizer.errors import EngineError, ImageFileError, ModelError, brief, shortened
from harmonizer.images.decoding import decode
from harmonizer.mistaken import came, kind_of
from harmonizer.predictor import OnnxPredictor, default_model

HEADS = {
    "web page": b"\n<!DOCTYPE html>\n<html><head><title>404</title>",
    "Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n",
    "nothing but zeros": bytes(600),
    "a raw photograph": b"\0\0\0\x18ftypcrx \0\0\0\1crx isom",
    "BMP": b"BM6\0\0\0",
    "JPEG 2000": b"\0\0\0\x0cjP  \r\n\x87\n",
    "Radiance HDR": b"#?RADIANCE\n",
    "PDF": b"%PDF-1.7",
    "ZIP": b"PK\x03\x04\x14\0",
    "MP4": b"\0\0\0\x20ftypisom\0\0\x02\0",
    "AppleDouble": b"\0\x05\x16\x07\0\x02\0\0",
    "server's answer": b'{"error": "Unauthorized"}',
    "harmonizer-arguments": b'{\n  "format": "harmonizer-arguments",\n  "version": 1,',
}


@pytest.mark.parametrize("name", HEADS)
def test_file_of_another_kind_is_named(name: str, tmp_path: Path) -> None:
    assert name in kind_of(HEADS[name])
    for suffix, read, error in (
        (".png", lambda path: decode(path, 100), ImageFileError),
        (".onnx", OnnxPredictor, ModelError),
        (".engine", read_engine_file, EngineError),
    ):
        path = tmp_path / f"x{suffix}"
        path.write_bytes(HEADS[name])
        with pytest.raises(error, match=f"it is .*{name}"):
            read(path)


def test_file_of_no_known_kind_is_told_by_its_first_bytes() -> None:
    assert came(b"\x01\x02abc") == "it begins with b'\\x01\\x02abc'"
    assert came(b"") == "it is empty"


@pytest.mark.parametrize("field", ["ir", "opset"])
def test_model_newer_than_the_library_says_why_and_to_update(
    field: str, scene: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = onnx.load(default_model())
    if field == "ir":
        model.ir_version = 99
    else:
        model.opset_import[0].version = 99
    onnx.save(model, "new.onnx")
    wanted = {"ir": "max supported IR version", "opset": "99"}[field]
    said = refused(capsys, 2, "image", "c.png", "m.png", "-o", "o.png", "--model", "new.onnx")
    assert wanted in said and "pip install --upgrade onnxruntime" in said
    with pytest.raises(ModelError, match="update it"):
        OnnxPredictor("new.onnx")


def test_long_message_keeps_its_end() -> None:
    text = "Load model failed: " + "Model::Model(proto, const std::string&) " * 30 + "version 99"
    for said in (shortened(text), brief(ValueError(text)), quoted([text])):
        assert "Load model failed" in said and said.rstrip(")").endswith("version 99")
    assert len(shortened(text)) < 510 and len(brief(ValueError(text))) < 230
    assert shortened("one\n  two") == "one two"


@pytest.mark.parametrize(
    "name", ["web page", "server's answer", "harmonizer-arguments", "nothing but zeros", "PDF"]
)
def test_video_that_is_something_else_is_named(
    name: str, scene: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("c.mp4").write_bytes(HEADS[name])
    said = refused(capsys, 2, "video", "c.mp4", "m.png", "-o", "o.mp4", "--set", "shadow=0.1")
    assert "c.mp4 must be a readable video; it is " in said and name in said


def test_video_without_its_index_or_content_is_said_to_be(
    scene: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = write_clip(scene / "c.mp4", map(picture, range(4))).read_bytes()
    for content, said in (
        (whole[: whole.index(b"moov") - 4], r"its index \(moov\) is missing"),
        (b"", "it is empty"),
    ):
        Path("c.mp4").write_bytes(content)
        words = ["video", "c.mp4", "m.png", "-o", "o.mp4", "--set", "shadow=0.1"]
        assert re.search(said, refused(capsys, 2, *words))


def test_video_mask_levels_beyond_8_bits_are_refused(
    scene: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_pair(scene, 2)
    words = ["video", "c.mp4", "m.mp4", "-o", "o.mp4", "--mask-levels", "0,1023"]
    assert "at most 255 for a video" in refused(capsys, 2, *words)


def test_other_files_of_a_sequence_are_noted(
    scene: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("frames").mkdir()
    for index in range(3):
        Image.fromarray(picture(index)).save(f"frames/{index}.png")
    Path("frames/3.dpx").write_bytes(b"x")
    Image.fromarray(disc(0)).save("m.png")
    words = ["video", "frames", "m.png", "-o", "o.mp4", "--rate", "25", "--set", "shadow=0.1"]
    assert main(words) == 0
    assert "frames: 1 other files are left alone: 3.dpx" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "crf", "said"),
    [("o.mp4", "900", "[0, 51] for libx264"), ("o.webm", "64", "[0, 63]"), ("o.mp4", "-1", "-1")],
)
def test_crf_that_an_encoder_would_clamp_is_refused(
    name: str, crf: str, said: str, scene: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_pair(scene, 2)
    words = ["video", "c.mp4", "m.mp4", "-o", name, "--set", "shadow=0.1", "--crf", crf]
    assert said in refused(capsys, 2, *words)
