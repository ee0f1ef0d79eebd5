"""Commands in a process that may have little memory, few files or little disk: one line."""

import json
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hostile_images import chunk, grey_tiff, png, swollen_exif
from PIL import Image

pytestmark = pytest.mark.long

LOOK = {
    "format": "harmonizer-arguments",
    "version": 1,
    "filters": ["brightness"],
    "arguments": {"brightness": 0.2},
}
MEBI = 1 << 20


def limit(kind: int, value: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(kind, (value, value))


def run(folder: Path, limited: Callable[[], None], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "harmonizer.cli", *words, "--arguments", "look.json"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=limited,
        timeout=120,
    )


@pytest.fixture
def place(tmp_path: Path) -> Path:
    grain = np.random.default_rng(1).integers(0, 256, (1500, 1500, 3), np.uint8)
    Image.fromarray(grain).save(tmp_path / "c.png", compress_level=1)
    Image.fromarray(grain[..., 0]).save(tmp_path / "m.png", compress_level=1)
    (tmp_path / "look.json").write_text(json.dumps(LOOK))
    return tmp_path


def check(place: Path, result: subprocess.CompletedProcess[str]) -> None:
    assert "Traceback" not in result.stderr, result.stderr
    if result.returncode == 0:
        Image.open(place / "o.png").load()
        (place / "o.png").unlink()
    else:
        assert result.returncode in (1, 2), result
        assert not (place / "o.png").exists()
    assert sorted(path.name for path in place.iterdir()) == ["c.png", "look.json", "m.png"]


@pytest.mark.parametrize("mebibytes", [250, 350, 2000])
def test_image_with_little_memory_ends_in_one_line(place: Path, mebibytes: int) -> None:
    limited = limit(resource.RLIMIT_AS, mebibytes * MEBI)
    result = run(place, limited, "image", "c.png", "m.png", "-o", "o.png", "--threads", "1")
    if "harmonizer" not in result.stderr and result.returncode:
        pytest.skip("the interpreter itself does not start in so little")
    check(place, result)


@pytest.mark.parametrize("files", [6, 10, 64])
def test_image_with_few_files_ends_in_one_line(place: Path, files: int) -> None:
    limited = limit(resource.RLIMIT_NOFILE, files)
    result = run(place, limited, "image", "c.png", "m.png", "-o", "o.png", "--threads", "1")
    if "harmonizer" not in result.stderr and result.returncode:
        pytest.skip("the interpreter itself does not start with so few")
    check(place, result)


@pytest.mark.parametrize("kibibytes", [0, 1000])
def test_image_on_a_disk_that_is_full_ends_in_one_line(place: Path, kibibytes: int) -> None:
    limited = limit(resource.RLIMIT_FSIZE, kibibytes << 10)
    check(place, run(place, limited, "image", "c.png", "m.png", "-o", "o.png"))


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("depth.tif", grey_tiff(tag32997=100_000)),
        ("samples.tif", grey_tiff(tag277=60_000)),
        ("tile.tif", grey_tiff(tag322=65_520, tag323=65_520)),
        ("exif.png", png(10, 10, extra=chunk(b"eXIf", swollen_exif(65_535, 50_000)))),
        ("wide.png", png(10, 10).replace(b"IHDR\0\0\0\x0a", b"IHDR\x7f\0\0\0")),
    ],
)
def test_attack_on_memory_stays_within_the_limit(place: Path, name: str, data: bytes) -> None:
    (place / name).write_bytes(data)
    limited = limit(resource.RLIMIT_AS, 1024 * MEBI)
    words = ["image", name, "m.png", "-o", "o.png", "--fit-mask", "--threads", "1"]
    result = run(place, limited, *words, "--max-pixels", "3000000")
    assert result.returncode in (0, 2), result.stderr
    assert "memory" not in result.stderr.replace("metadata", "")
    assert "Traceback" not in result.stderr
