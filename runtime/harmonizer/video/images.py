"""Write the output as numbered image files, that appear together when all are written."""

import re
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from harmonizer.errors import ImageFileError, StorageError
from harmonizer.images.files import ALPHA_FORMATS, DEEP_FORMATS, FORMATS, Photo, save_photo
from harmonizer.storage import Temporary, rename_together, resolved, sweep
from harmonizer.systems import sync_folder
from harmonizer.video.encoders import Choice, Encoding
from harmonizer.video.errors import VideoError, translated
from harmonizer.video.formats import depth_of, has_alpha_channel
from harmonizer.video.orientation import Orientation
from harmonizer.video.planes import views
from harmonizer.video.sequence import is_pattern, numbered, numbered_files

_REMEDY = "Check that the disk has room and that you may write there."

_WORKERS = 2
"""Images that are compressed at a time; as many more may wait."""


def is_image_output(path: Path) -> bool:
    """Whether an output's name asks for images."""
    return path.suffix.lower() in FORMATS


def choose_images(path: Path, source_format: str, encoding: Encoding) -> Choice:
    """Choose depth and channels of an image sequence.

    Args:
        path: Output pattern, such as out/%05d.png.
        source_format: Pixel format of the input.
        encoding: What was asked for; only its `depth` applies.

    Raises:
        VideoError: If the name is no pattern, or settings of an encoder are given.
    """
    check_pattern(path)
    given = (
        *(encoding.codec, encoding.crf, encoding.preset, encoding.pixel_format),
        *(encoding.hardware or None, encoding.options or None),
    )
    if any(value is not None for value in given):
        raise VideoError(
            f"{path} must be a video to have an encoder's settings; it is a sequence of images. "
            "Drop `codec`, `crf`, `preset`, `pixel_format`, `hardware` and `options`; `depth` "
            "chooses 8 or 16 bits."
        )
    form = FORMATS[path.suffix.lower()]
    if form == "OpenEXR":
        raise VideoError(
            f"{path} must name images of 8 or 16 bits; OpenEXR holds floats. Write .png or .tif."
        )
    notes = []
    depth = encoding.depth or (16 if depth_of(source_format) > 8 else 8)
    if depth == 16 and form not in DEEP_FORMATS:
        if encoding.depth is not None:
            raise VideoError(
                f"`depth=16` must go with PNG, TIFF or JPEG XL; {form} holds 8 bits. Write .png or "
                ".tif."
            )
        notes.append(f"{source_format} is rounded to 8 bits, which {form} holds")
        depth = 8
    alpha = has_alpha_channel(source_format)
    if alpha and form not in ALPHA_FORMATS:
        notes.append(f"the alpha channel is dropped; {form} holds none")
        alpha = False
    name = f"gbr{'a' if alpha else ''}p{'16le' if depth == 16 else ''}"
    return Choice(form, name, name, {}, False, tuple(notes))


def check_pattern(path: Path) -> None:
    """Refuse an output of images whose name is no pattern, or whose files are there already.

    Raises:
        VideoError: If it is so.
    """
    if not is_pattern(path) or re.search(r"%0?\d*d.*%0?\d*d", path.name):
        raise VideoError(
            f"{path} must hold one %d for the number of each image, such as frames/%05d.png; it "
            "does not. Name it so, or a video."
        )
    sweep(resolved(path.parent), again=True)  # a killed run may have left its last step to do
    there = numbered_files(path)
    if there:
        raise VideoError(
            f"{path} must name files that are not there yet; {next(iter(there.values())).name} is "
            f"({len(there)} in all). Remove them, or name another folder."
        )


class ImageWriter:
    """Numbered image files in a hidden folder; `finish` puts them in place, `discard` removes them.

    Args:
        path: Pattern; its folder is made if only that is missing.
        orientation: How the frames are displayed; images are written upright.
        start: Number of the frame whose pts is 0; None to count the frames from 0.
        icc: Profile of the images; empty for none.

    Attributes:
        frames: Written so far.
        notes: What a person should know.

    Raises:
        VideoError: If nothing can be written there.
    """

    def __init__(
        self, path: Path, orientation: Orientation, start: int | None, icc: bytes = b""
    ) -> None:
        check_pattern(path)
        self.path, self.frames = path, 0
        self.notes: list[str] = []
        self._orientation, self._start, self._icc = orientation, start, icc
        self._folder = resolved(path.parent)
        # Beside the folder, to become it; or in it, if it is there.
        target = self._folder / "images" if self._folder.is_dir() else self._folder
        with translated(path, "must be writable", "Check that its folder exists and is writable."):
            self._hidden = Temporary(target, ".images", folder=True)
        self._temporary = self._hidden.path
        self._workers = ThreadPoolExecutor(_WORKERS, "hz-images")
        self._pending: deque[Future[Any]] = deque()

    def write(self, frame: av.VideoFrame) -> None:
        """Compress and write a frame, in another thread.

        Raises:
            VideoError: If this or an earlier one cannot be written.
        """
        number = self.frames if self._start is None else self._start + (frame.pts or 0)
        pixels, alpha = arrays(frame)
        upright = self._orientation.upright
        like = Photo(pixels, icc=self._icc) if self._icc else None
        name = self._temporary / numbered(self.path, number)
        self._pending.append(
            self._workers.submit(
                save_photo, name, upright(pixels), like, None if alpha is None else upright(alpha)
            )
        )
        self.frames += 1
        while len(self._pending) > 2 * _WORKERS:
            self._land()

    def copy(self, packet: Any) -> None:
        """Other streams have no place here."""

    def finish(self) -> None:
        """Wait for the last images and put all in place.

        Raises:
            VideoError: If one cannot be written, or a file of that name has come meanwhile;
                nothing is left then, but for images that were in place before the failure.
        """
        try:
            while self._pending:
                self._land()
            self._workers.shutdown()
            check_pattern(self.path)
            with translated(self.path, "must be writable", _REMEDY):
                sync_folder(self._temporary)
                if self._folder.is_dir():
                    files = sorted(file.name for file in self._temporary.iterdir())
                    within = self._temporary.name
                    rename_together(self._folder, {f"{within}/{name}": name for name in files})
                    self._hidden.discard()
                else:
                    self._hidden.publish()
        except BaseException:
            self.discard()
            raise

    def discard(self) -> None:
        """Remove what was written."""
        self._workers.shutdown(cancel_futures=True)
        self._pending.clear()
        self._hidden.discard()

    def _land(self) -> None:
        try:
            self._pending.popleft().result()
        except (ImageFileError, StorageError) as error:
            reason = error.__cause__
            said = getattr(reason, "strerror", None) or str(reason or error)
            raise VideoError(f"{self.path} must be writable; {said}. {_REMEDY}") from error


def arrays(frame: av.VideoFrame) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """(H, W, 3) RGB of a planar RGB frame, and its alpha, if it has one."""
    green, blue, red, *alpha = views(frame)
    return np.stack([red, green, blue], axis=2), alpha[0].copy() if alpha else None
