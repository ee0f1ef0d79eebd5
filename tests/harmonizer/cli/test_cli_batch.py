"""`harmonizer batch`: pairs, resumes, goes on past bad files, reports them."""

import base64
import io
import os
import re
import shutil
import subprocess
import sys
import time
import types
from pathlib import Path

import numpy as np
import pytest
from command_line import COMMAND, pixels, refused
from PIL import Image

from harmonizer.arguments import Arguments
from harmonizer.batch import RECORD_NAME
from harmonizer.cli import main
from harmonizer.images.files import load_photo


def folders(scene: Path) -> None:
    """composites/ and masks/ named as in iHarmony4, one composite in a subfolder."""
    for name in ("composites/sub", "masks/sub"):
        Path(name).mkdir(parents=True)
    image = Image.open("c.png")
    for name in ("a1_1_1.jpg", "a1_1_2.jpg", "b.png", "sub/b.tif"):
        image.save(Path("composites") / name)
    for name in ("a1_1.png", "b.png", "sub/b.png"):
        Image.open("m.png").save(Path("masks") / name)


def test_batch_pairs_draws_skips_and_redoes(
    scene: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders(scene)
    words = ["batch", "composites", "masks", "-o", "out", "--model", str(model)]
    assert main(words) == 0
    assert capsys.readouterr().out == "4 done, 0 skipped, 0 failed\n"
    written = {str(p.relative_to("out")) for p in Path("out").rglob("*") if p.is_file()}
    assert written == {"a1_1_1.jpg", "a1_1_2.jpg", "b.png", "sub/b.tif", RECORD_NAME}
    main(["image", "c.png", "m.png", "-o", "single.png", "--model", str(model)])
    np.testing.assert_array_equal(pixels("out/b.png"), pixels("single.png"))
    np.testing.assert_array_equal(pixels("out/sub/b.tif"), pixels("single.png"))
    capsys.readouterr()

    assert main(words) == 0
    assert capsys.readouterr().out == "0 done, 4 skipped, 0 failed\n"
    Path("out/b.png").unlink()
    os.utime("masks/sub/b.png", ns=(1, 1))
    assert main(words) == 0
    assert capsys.readouterr().out == "2 done, 2 skipped, 0 failed\n"
    assert main([*words, "--strength", "0.5"]) == 0
    assert capsys.readouterr().out == "4 done, 0 skipped, 0 failed\n"
    assert main([*words, "--strength", "0.5", "--force", "--jobs", "1"]) == 0
    assert capsys.readouterr().out == "4 done, 0 skipped, 0 failed\n"


def test_batch_goes_on_past_bad_files_and_reports_them(
    scene: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders(scene)
    Path("composites/a0_bad.png").write_bytes(b"not an image")
    Image.open("m.png").save("masks/a0_bad.png")
    Image.open("c.png").save("composites/orphan.png")
    Image.open("c.png").save("composites/small.png")
    Image.open("m.png").resize((5, 5)).save("masks/small.png")
    Image.open("m.png").save("masks/b.tif")
    words = ["batch", "composites", "masks", "-o", "out", "--model", str(model)]
    assert main(words) == 1
    captured = capsys.readouterr()
    assert captured.out == "3 done, 0 skipped, 4 failed\n"
    failed = [line for line in captured.err.splitlines() if "failed:" in line]
    assert len(failed) == 4
    assert re.search(r"failed: composites/a0_bad\.png must be a JPEG", failed[0])
    assert re.search(r"b\.png must have one mask b\.\* .*b\.png, .*b\.tif\. Leave one", failed[1])
    wanted = r"failed: composites/orphan\.png must have one mask orphan\.\* .*found none\. Add it"
    assert re.search(wanted, failed[2])
    assert re.search(r"small\.png: .*composite's size", failed[3])
    assert not Path("out/a0_bad.png").exists()
    Image.open("c.png").save("composites/a0_bad.png")
    assert main(words) == 1
    assert capsys.readouterr().out == "1 done, 3 skipped, 3 failed\n"


def test_batch_torn_record_line_counts_as_not_written(
    scene: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders(scene)
    words = ["batch", "composites", "masks", "-o", "out", "--model", str(model)]
    main(words)
    record = Path("out") / RECORD_NAME
    record.write_bytes(record.read_bytes()[:-20])
    capsys.readouterr()
    main(words)
    assert capsys.readouterr().out == "1 done, 3 skipped, 0 failed\n"
    main(words)
    assert capsys.readouterr().out == "0 done, 4 skipped, 0 failed\n"


def test_batch_goes_on_past_links_in_a_circle(
    scene: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders(scene)
    Path("composites/loop.png").symlink_to("loop.png")
    Path("out").mkdir()
    Path("out/b.png").symlink_to("b.png")
    words = ["batch", "composites", "masks", "-o", "out", "--model", str(model)]
    assert main(words) == 1
    captured = capsys.readouterr()
    assert captured.out == "3 done, 0 skipped, 1 failed\n"
    assert "b.png: " in captured.err and "Traceback" not in captured.err


def test_batch_layouts_alpha_and_format(
    scene: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("set/composite", "set/mask", "alpha"):
        Path(name).mkdir(parents=True)
    Image.open("c.png").save("set/composite/one.webp", lossless=True)
    Image.open("m.png").save("set/mask/one.png")
    Image.open("rgba.png").save("alpha/one.png")
    chosen = ["--model", str(model)]
    assert main(["batch", "set", "-o", "o1", "--format", "png", *chosen]) == 0
    assert main(["batch", "alpha", "-o", "o2", "--format", "tif", *chosen]) == 0
    np.testing.assert_array_equal(pixels("o1/one.png"), pixels("o2/one.tif"))
    Arguments.identity().save("a.json")
    assert main(["batch", "alpha", "-o", "alpha/out", "--arguments", "a.json"]) == 0
    np.testing.assert_array_equal(pixels("alpha/out/one.png"), pixels("c.png"))
    assert main(["batch", "alpha", "-o", "alpha/out", "--arguments", "a.json"]) == 0
    assert capsys.readouterr().out.endswith("0 done, 1 skipped, 0 failed\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("absent -o out", r"absent must be a folder"),
        ("composites absent -o out", r"absent must be a folder"),
        ("bare -o out", r"bare must contain images"),
        ("composites masks -o composites", r"must not replace an input of the batch"),
        ("composites masks -o ./masks", r"masks must not be the folder of the masks"),
        ("composites masks -o out --format gif", r"'gif' is not an image format"),
        ("composites masks -o out --jobs 0", r"--jobs must be at least 1; got 0\. Give more"),
        ("composites masks -o out --jobs 5000", r"at most 4096; got 5000\. Give fewer"),
        ("twins -o out --format png", r"each composite must have its own output.*Rename one"),
        ("composites masks -o c.png", r"c.png must be a folder.*File exists.*Name another"),
        ("composites composites/sub/.. -o out", r"mask must be another file or folder"),
    ],
)
def test_batch_bad_command_line_is_refused(
    scene: Path, model: Path, capsys: pytest.CaptureFixture[str], words: str, message: str
) -> None:
    folders(scene)
    Path("bare").mkdir()
    Path("twins").mkdir()
    Image.open("rgba.png").save("twins/a.png")
    Image.open("rgba.png").save("twins/a.webp")
    assert re.search(message, refused(capsys, 2, "batch", *words.split(), "--model", str(model)))
    assert not Path("out").exists()


def test_batch_interrupted_leaves_no_half_files_and_resumes(scene: Path, model: Path) -> None:
    import signal

    Path("many").mkdir()
    big = Image.open("rgba.png").resize((800, 600))
    for index in range(40):
        big.save(f"many/{index:02}.png", compress_level=1)
    words = [*COMMAND, "batch", "many", "-o", "out", "--model", str(model)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while len(list(Path("out").glob("*.png"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "harmonizer: interrupted" in errors and "Traceback" not in errors
    finished = sorted(Path("out").glob("*.png"))
    assert 3 <= len(finished) < 40
    assert not list(Path("out").glob(".*"))
    for path in finished:
        assert load_photo(path).pixels.shape == (600, 800, 3)
    again = subprocess.run(words, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    done, skipped = map(int, re.findall(r"\d+", again.stdout)[:2])
    assert done + skipped == 40 and skipped >= 1


def test_batch_counts_and_names_what_it_leaves_alone(
    scene: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders(scene)
    for name in (
        "composites/phone.dng",
        "composites/sub/notes.txt",
        "composites/no_suffix",
        "composites/._b.png",
        "composites/.DS_Store",
        "masks/b.xcf",
    ):
        Path(name).write_bytes(b"x")
    Image.open("m.png").save("masks/unused.png")
    words = ["batch", "composites", "masks", "-o", "out", "--model", str(model)]
    for counts in ("4 done, 0 skipped", "0 done, 4 skipped"):
        assert main(words) == 0
        captured = capsys.readouterr()
        assert captured.out == f"{counts}, 0 failed, 7 other files left alone\n"
        notes = [line for line in captured.err.splitlines() if "left alone" in line]
        strangers, hidden, unused = notes
        for name in ("phone.dng", "sub/notes.txt", "no_suffix", "masks/b.xcf"):
            assert name in strangers
        assert "4 left alone, not named as images" in strangers
        assert "2 left alone, hidden" in hidden
        assert "composites/.DS_Store" in hidden and "composites/._b.png" in hidden
        assert "1 left alone, masks without a composite: masks/unused.png" in unused


def test_batch_with_its_output_inside_counts_no_outputs(
    scene: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("all").mkdir()
    Image.open("rgba.png").save("all/a.png")
    words = ["batch", "all", "-o", "all/out", "--model", str(model)]
    for counts in ("1 done, 0 skipped", "0 done, 1 skipped"):
        assert main(words) == 0
        assert capsys.readouterr().out == f"{counts}, 0 failed\n"


def test_batch_without_images_says_what_is_there(
    scene: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("phone").mkdir()
    for name in ("a.dng", "b.dng"):
        Path("phone", name).write_bytes(b"x")
    said = refused(capsys, 2, "batch", "phone", "-o", "out")
    assert "it has none, among 2 files such as a.dng, b.dng." in said


@pytest.mark.parametrize("module", ["harmonizer", "harmonizer.cli"])
def test_package_runs_as_a_module(module: str, scene: Path) -> None:
    result = subprocess.run(
        [COMMAND[0], "-m", module, "--version"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0 and result.stdout.startswith("harmonizer ")


def test_batch_finds_masks_beside_their_composites(
    scene: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("flat/sub").mkdir(parents=True)
    for name in ("a.png", "sub/b.png"):
        shutil.copy("c.png", Path("flat", name))
        shutil.copy("m.png", Path("flat", f"{name.removesuffix('.png')}_mask.png"))
    Image.open("rgba.png").save("flat/alpha.png")
    shutil.copy("rgba.png", "flat/lonely_mask.png")  # nothing has its name: a picture of its own
    look = ["--set", "brightness=0.3", "--strength", "0"]
    words = ["batch", "flat", "-o", "out", *look]
    assert main(words) == 0
    names = sorted(str(path.relative_to("out")) for path in Path("out").rglob("*.png"))
    assert names == ["a.png", "alpha.png", "lonely_mask.png", "sub/b.png"]
    assert main(["image", "c.png", "m.png", "-o", "one.png", *look]) == 0
    assert Path("out/sub/b.png").read_bytes() == Path("one.png").read_bytes()


def test_batch_report_shows_pairs_and_reasons(
    scene: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders(scene)
    Path("composites/<b>bad.png").write_bytes(b"no picture")
    shutil.copy("m.png", "masks/<b>bad.png")
    words = ["batch", "composites", "masks", "-o", "out", "--model", str(model)]
    assert main([*words, "--report", "page.html"]) == 1
    page = Path("page.html").read_text()
    assert page.count("<figure>") == 4 and page.count("data:image/jpeg;base64,") == 8
    assert "4 done, 0 skipped, 1 failed" in page and "Failed (1)" in page
    assert "composites/&lt;b&gt;bad.png" in page and "<b>bad" not in page
    assert "http" not in page
    assert str(Arguments.load(saved_arguments(model))).split("  ")[0] in page
    assert main([*words, "--report", "again.html"]) == 1
    assert Path("again.html").read_text().count("done before") == 4
    pictures = re.findall(r'alt="(\w+)" src="data:image/jpeg;base64,([^"]+)"', page)
    assert [name for name, _ in pictures] == ["composite", "result"] * 4
    sizes = {Image.open(io.BytesIO(base64.b64decode(data))).size for _, data in pictures}
    assert sizes == {Image.open("c.png").size}
    capsys.readouterr()
    assert "must end in .html" in refused(capsys, 2, *words, "--report", "page.txt")


def saved_arguments(model: Path) -> Path:
    """What the model predicts for b.png."""
    words = ["image", "composites/b.png", "masks/b.png", "-o", "b.png", "--model", str(model)]
    assert main([*words, "--save-arguments", "b.json"]) == 0
    return Path("b.json")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("cs ms -o s3://bucket/out", "is an address, which needs --ray"),
        ("s3://KEY:SECRET@bucket/cs ms -o out", "s3://bucket/cs is an address, which needs --ray"),
        ("cs ms -o out --gpus-per-worker 0.5", "--gpus-per-worker goes with --ray"),
        ("cs ms -o out --ray local --gpus-per-worker 1.5", "must be a whole number, or lie"),
        ("cs ms -o s3://bucket/o --ray local --report p.html", "--report goes with folders"),
        ("cs -o s3://bucket/o --ray local --background b.jpg", "--background goes with folders"),
        ("cs ms -o out --ray local", "--ray needs ray.data, which is not installed"),
    ],
)
def test_batch_on_a_cluster_is_refused_before_any_work(
    scene: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: str,
    said: str,
) -> None:
    for name in ("cs", "ms"):
        Path(name).mkdir()
        shutil.copy("m.png", f"{name}/a.png")
    monkeypatch.setitem(sys.modules, "pyarrow", types.ModuleType("pyarrow"))
    monkeypatch.setitem(sys.modules, "ray", types.ModuleType("ray"))
    monkeypatch.setitem(sys.modules, "ray.data", None)
    assert said in refused(capsys, 2, "batch", *words.split())
    assert not Path("out").exists()
