"""Images decoded and resized once, kept as uint8 squares in one memory-mapped array.

Decoding a large photograph takes longer than a training step may wait for it. The cache is a folder
`<kind>-<fingerprint>` with `pixels.npy` and `index.json`; it is put in place by one rename, so that
what can be opened is whole.
"""

import hashlib
import json
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from harmonizer.private import locked
from harmonizer.systems import available_cores
from train.data.opening import open_image

PACKED_SIZE = 256
"""Images are kept as squares of this side, aspect not kept, like the network's thumbnails."""

PLANE = PACKED_SIZE**2
"""Bytes of one packed channel."""

FORMAT = 2
"""Counts changes of what is packed; part of the fingerprint."""

_INDEX = "index.json"

_AHEAD = 256

SHOWN = 3
"""Files that an error message names."""

Record = Sequence[str | None]
"""The files of one image, relative to the root, its own first; None for a mask that it lacks."""

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class PackedImages:
    """Packed images of one folder.

    Attributes:
        folder: The cache folder.
        pixels: (n, planes, 256, 256) uint8, memory-mapped, read-only.
        names: The n images' names; a row whose image is in `skipped` holds zeros.
        rows: The rows of `pixels` that hold an image.
        fractions: (n,) area of the image's own mask as a share of the image, 0 without a mask.
        skipped: "name: reason" of each image that could not be packed.
    """

    folder: Path
    pixels: NDArray[np.uint8]
    names: tuple[str, ...]
    rows: NDArray[np.int64]
    fractions: NDArray[np.float64]
    skipped: tuple[str, ...]

    def __reduce__(self) -> tuple[Callable[[Path], "PackedImages"], tuple[Path]]:
        # A memory map would be pickled by value: gigabytes for every loader process.
        return load_packed, (self.folder,)


def load_packed(folder: Path) -> PackedImages:
    """Map a cache folder.

    Raises:
        ValueError: If the array is not what the index says.
    """
    index = json.loads((folder / _INDEX).read_text(encoding="utf-8"))
    names, skipped = index["names"], index["skipped"]
    try:
        pixels = np.load(folder / "pixels.npy", mmap_mode="r")
        if len(pixels) != len(names):
            raise ValueError(f"{len(pixels)} rows for {len(names)} names")
    except (OSError, ValueError) as error:
        raise ValueError(
            f"the cache {folder} must hold one packed row per image; it is damaged ({error}). "
            "Delete that folder; it is packed again on the next start."
        ) from error
    rows = np.array([row for row in range(len(names)) if str(row) not in skipped], np.int64)
    return PackedImages(
        folder,
        pixels,
        tuple(names),
        rows,
        np.array(index["fractions"]),
        tuple(f"{names[int(row)]}: {reason}" for row, reason in skipped.items()),
    )


def open_packed(
    cache: str | Path,
    kind: str,
    root: Path,
    records: Sequence[Record],
    read: Callable[[int], tuple[NDArray[np.uint8], float]],
    planes: int,
    max_corrupt: float,
) -> PackedImages:
    """Pack images on first use; later calls map the cache.

    Of several processes that want the same images at once, one packs and the others wait. A file
    that changed makes a new cache, which replaces that of the same files' earlier state.

    Args:
        cache: Folder of all caches.
        kind: Begins the cache folder's name.
        root: What the files' names are relative to.
        records: The files of each image; the first one is its name.
        read: Gives image i as (planes, 256, 256) and its mask's area; called from threads.
        planes: Channels of one image.
        max_corrupt: Share of the images that may fail to be read.

    Raises:
        ValueError: If more images fail than `max_corrupt` allows, or the cache is damaged.
        OSError: If a file is absent or the disk has too little space.
    """
    names = [str(record[0]) for record in records]
    folder = Path(cache) / f"{kind}-{fingerprint(root, records, planes)}"
    with to_be_made(folder) as unfinished:
        if unfinished is not None:
            _pack(unfinished, kind, root, names, read, planes, max_corrupt)
    if unfinished is not None:
        _remove_older(folder, kind)
    packed = load_packed(folder)
    _check_share(packed.skipped, len(names), kind, max_corrupt)
    return packed


@contextmanager
def to_be_made(folder: Path) -> Iterator[Path | None]:
    """The folder under another name, for what is to be in it; None if it is there already.

    Of several processes one makes it, and the others wait. It gets its name once it is whole.
    """
    if folder.is_dir():
        yield None
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = folder.with_suffix(".partial")
    with locked(folder.with_suffix(".lock")):
        if folder.is_dir():
            yield None
            return
        shutil.rmtree(unfinished, ignore_errors=True)  # of a process that was killed
        try:
            unfinished.mkdir()
            yield unfinished
            unfinished.rename(folder)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise


def remove_cache(folder: Path) -> None:
    """Remove what `to_be_made` made."""
    shutil.rmtree(folder)
    folder.with_suffix(".lock").unlink(missing_ok=True)


def fingerprint(root: Path, records: Sequence[Record], planes: int) -> str:
    """16 digits that follow from which file is whose mask, from names, sizes and times.

    Where the root lies does not matter, so that a copy that keeps the times keeps its cache.
    """
    digest = hashlib.sha256(f"{FORMAT} {PACKED_SIZE} {planes}\n".encode())
    known: dict[str | None, list[str | int] | None] = {None: None}
    for record in records:
        for name in record:
            if name is not None and name not in known:
                facts = (root / name).stat()
                known[name] = [name, facts.st_size, facts.st_mtime_ns]
        digest.update(json.dumps([known[name] for name in record]).encode() + b"\n")
    return digest.hexdigest()[:16]


def check_mask(mask: NDArray[np.uint8], name: str) -> None:
    """Refuse a mask without foreground.

    Args:
        mask: As packed.
        name: Its file.

    Raises:
        ValueError: If no value reaches 128.
    """
    peak = int(mask.max())
    if peak == 0:
        raise ValueError(f"the mask {name} is empty at {PACKED_SIZE}x{PACKED_SIZE}")
    if peak < 128:
        raise ValueError(
            f"the mask {name} must be white (255) where the foreground is; its largest value is "
            f"{peak}. If these are labels, write the foreground's as 255 and the others as 0"
        )


def _check_share(skipped: Sequence[str], count: int, kind: str, max_corrupt: float) -> None:
    """Refuse more unusable images than allowed; `skipped` says "name: reason" of each."""
    if len(skipped) > max_corrupt * count:
        raise ValueError(
            f"at most {max_corrupt:.1%} of {count:,} {kind} may be unusable; {len(skipped):,} "
            f"already are ({'; '.join(skipped[-SHOWN:])}). Repair or remove them (python -m train "
            "check-data --report FILE names all), or allow a larger share with --max-corrupt."
        )


def _remove_older(folder: Path, kind: str) -> None:
    """Remove what was packed of the same files before they changed; nobody opens it again."""
    index = json.loads((folder / _INDEX).read_text(encoding="utf-8"))
    for path in folder.parent.glob(f"{kind}-*/{_INDEX}"):
        try:
            older = json.loads(path.read_text(encoding="utf-8"))
            same = all(older[key] == index[key] for key in ("root", "names"))
        except (OSError, ValueError, KeyError):
            continue  # not known to be of the same files
        if same and path.parent != folder:
            remove_cache(path.parent)


def _pack(
    folder: Path,
    kind: str,
    root: Path,
    names: Sequence[str],
    read: Callable[[int], tuple[NDArray[np.uint8], float]],
    planes: int,
    max_corrupt: float,
) -> None:
    needed, free = len(names) * planes * PLANE, shutil.disk_usage(folder.parent).free
    if needed > free:
        raise OSError(
            f"packing {len(names):,} {kind} needs {needed / 1e9:.2g} GB in {folder.parent}; "
            f"{free / 1e9:.2g} GB are free. Name another folder with --cache."
        )
    path = folder / "pixels.npy"
    shape = (len(names), planes, PACKED_SIZE, PACKED_SIZE)
    pixels = np.lib.format.open_memmap(path, "w+", np.uint8, shape)
    with path.open("r+b") as file:
        # Claims the space now: a disk that fills up later would kill the process, as writing
        # to a mapped page has no other way to fail.
        os.posix_fallocate(file.fileno(), 0, path.stat().st_size)

    def pack_one(row: int) -> tuple[float, str]:
        try:
            image, fraction = read(row)
        except Exception as error:  # damaged files make decoders raise nearly anything
            return 0.0, " ".join(str(error).split()) or type(error).__name__
        pixels[row] = image
        return fraction, ""

    fractions, skipped = [], {}
    results = in_parallel(pack_one, range(len(names)), f"packing {kind}")
    for row, (fraction, reason) in enumerate(results):
        fractions.append(fraction)
        if reason:
            skipped[str(row)] = reason
            lines = [f"{names[int(at)]}: {why}" for at, why in skipped.items()]
            _check_share(lines, len(names), kind, max_corrupt)
    pixels.flush()
    index = {
        "root": str(root.resolve()),
        "names": list(names),
        "fractions": fractions,
        "skipped": skipped,
    }
    (folder / _INDEX).write_text(json.dumps(index), encoding="utf-8")


def in_parallel(
    function: Callable[[Item], Result], items: Sequence[Item], description: str
) -> Iterator[Result]:
    """Map over items on all cores this process may use, in order, with a progress bar.

    Threads, because decoding, resizing and segmenting release the interpreter's lock. No more than
    `_AHEAD` results wait for whoever takes them.
    """
    executor = ThreadPoolExecutor(available_cores())
    waiting: deque[Future[Result]] = deque()
    progress = tqdm(desc=description, total=len(items), unit="image", disable=None)
    try:
        for item in items:
            waiting.append(executor.submit(function, item))
            if len(waiting) >= _AHEAD:
                yield waiting.popleft().result()
                progress.update()
        while waiting:
            yield waiting.popleft().result()
            progress.update()
    finally:
        progress.close()
        executor.shutdown(cancel_futures=True)


def decode(
    path: Path, mode: Literal["RGB", "L"], upright: bool = False
) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """Read an image file as a packed square.

    Args:
        path: Any 8-bit format that Pillow reads.
        mode: "RGB" for photographs, "L" for masks.
        upright: Turn the picture as its EXIF orientation says.

    Returns:
        (256, 256, 3) or (256, 256) uint8, and the file's width and height (after turning).

    Raises:
        ValueError: If the file has more than 8 bits a channel, or transparent pixels.
        OSError: If the file cannot be read. Damaged files raise other exceptions too.
    """
    with open_image(path) as image:
        if image.mode.startswith(("I", "F")):
            raise ValueError(f"must have 8 bits a channel; it has mode {image.mode}")
        width, height = image.size
        orientation = image.getexif().get(0x0112, 1) if upright else 1
        # Lets libjpeg decode at a fraction of the size, still twice what is needed.
        image.draft(mode, (2 * PACKED_SIZE, 2 * PACKED_SIZE))
        if (
            image.has_transparency_data
            and image.convert("RGBA").getchannel("A").getextrema()[0] != 255
        ):
            raise ValueError("must be opaque; it has transparent pixels")
        square = image.convert(mode).resize(
            (PACKED_SIZE, PACKED_SIZE), Image.Resampling.BILINEAR, reducing_gap=2.0
        )
    if orientation in _TURNS:
        square = square.transpose(_TURNS[orientation])
        if orientation >= 5:
            width, height = height, width
    return np.asarray(square), (width, height)


_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What the EXIF orientation asks for (EXIF 2.3, tag 0x0112)."""
