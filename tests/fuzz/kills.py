"""Kill commands at random times: what is there afterwards is whole, and nothing stays behind."""

import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

HERE = Path(__file__).resolve().parent
LOOK = {
    "format": "harmonizer-arguments",
    "version": 1,
    "filters": ["brightness", "shadow"],
    "arguments": {"brightness": 0.3, "shadow": 0.2},
}

SETS = """
import sys
from pathlib import Path
from harmonizer.storage import write_set
folder = Path(sys.argv[1])
for turn in range(10**9):
    write_set({folder / f"set-{name}": f"{turn} ".encode() * 20000 for name in "abc"})
"""


@dataclass
class Damage:
    """What kills have left.

    Attributes:
        kills: How many processes were killed while they ran.
        torn: Outputs that are there and not whole.
        mixed: Sets of which parts are of different writings, after the next run.
        left: Hidden files that the next run did not remove.
    """

    kills: int = 0
    torn: int = 0
    mixed: int = 0
    left: int = 0


def harass(count: int, seed: int) -> Damage:
    """Kill so many commands: images, batches, videos, image sequences and sets in turn."""
    dice, damage = random.Random(f"kills {seed}"), Damage()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _prepare(folder)
        usual = {kind: _duration(folder, kind) for kind in _COMMANDS}
        kinds = [*_COMMANDS, "sets"]
        while damage.kills < count:
            kind = kinds[damage.kills % len(kinds)]
            _clear(folder)
            command = _command(folder, kind)
            process = subprocess.Popen(
                command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            time.sleep(dice.uniform(0.3, usual.get(kind, 1.2)))
            ended = process.poll() is not None
            process.kill()
            process.wait()
            if ended and kind != "sets":
                usual[kind] *= 0.95
            damage.kills += 1
            _next_run(folder, kind)
            _examine(folder, damage)
    return damage


_COMMANDS = {
    "image": "image c.png m.png -o out/o.png --save-arguments out/a.json",
    "batch": "batch composites masks -o out --jobs 2",
    "video": "video c.mp4 m.png -o out/o.mp4 --save-arguments out/t.jsonl",
    "sequence": "video c.mp4 m.png -o out/%03d.png",
}


def _command(folder: Path, kind: str) -> list[str]:
    if kind == "sets":
        return [sys.executable, "-c", SETS, str(folder / "out")]
    words = [*_COMMANDS[kind].split(), "--arguments", "look.json"]
    return [sys.executable, "-m", "harmonizer.cli", *words]


def _prepare(folder: Path) -> None:
    import av

    grain = np.random.default_rng(3).integers(0, 256, (480, 640, 3), np.uint8)
    mask = np.zeros((480, 640), np.uint8)
    mask[100:300, 100:400] = 255
    for name in ("composites", "masks", "out"):
        (folder / name).mkdir()
    Image.fromarray(grain).save(folder / "c.png")
    Image.fromarray(mask).save(folder / "m.png")
    for index in range(8):
        Image.fromarray(grain).save(folder / "composites" / f"{index}.png")
        Image.fromarray(mask).save(folder / "masks" / f"{index}.png")
    with av.open(str(folder / "c.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 640, 480, "yuv420p"
        for index in range(40):
            frame = av.VideoFrame.from_ndarray(np.roll(grain, 5 * index, 1), "rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    (folder / "look.json").write_text(json.dumps(LOOK))


def _duration(folder: Path, kind: str) -> float:
    began = time.monotonic()
    subprocess.run(_command(folder, kind), cwd=folder, check=True, capture_output=True)
    _clear(folder)
    return time.monotonic() - began


def _clear(folder: Path) -> None:
    for path in (folder / "out").iterdir():
        path.unlink()


def _next_run(folder: Path, kind: str) -> None:
    """Another command comes to the folder."""
    words = "image c.png m.png -o out/next.png --arguments look.json"
    subprocess.run(
        [sys.executable, "-m", "harmonizer.cli", *words.split()],
        cwd=folder,
        check=True,
        capture_output=True,
    )


def _examine(folder: Path, damage: Damage) -> None:
    import av

    from harmonizer.arguments import Arguments
    from harmonizer.images.files import load_photo
    from harmonizer.video.track import Track

    readers: dict[str, Callable[[Path], object]] = {
        ".png": load_photo,
        ".json": Arguments.load,
        ".jsonl": _read_lines,
    }
    for path in (folder / "out").iterdir():
        try:
            if path.name.startswith(".harmonizer"):
                damage.left += 1
            elif path.suffix == ".mp4":
                with av.open(str(path)) as container:
                    frames = sum(1 for _ in container.decode(video=0))
                damage.torn += frames != 40
            elif path.name == "t.jsonl":
                damage.torn += len(Track.load(path).entries) != 40
            elif path.suffix in readers:
                readers[path.suffix](path)
        except Exception:  # whatever it is, the file is not whole
            damage.torn += 1
    turns = {path.read_bytes().split()[0] for path in (folder / "out").glob("set-*")}
    damage.mixed += len(turns) > 1
    numbered = len(list((folder / "out").glob("[0-9][0-9][0-9].png")))
    damage.mixed += numbered not in (0, 40)


def _read_lines(path: Path) -> None:
    """A batch's record, of which the last line may be torn: the next run takes it for not there."""
    lines = path.read_bytes().split(b"\n")
    for line in lines[:-1]:
        json.loads(line)
