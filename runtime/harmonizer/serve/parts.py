"""What a request brings: files, which go to the disk, and fields."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from tempfile import SpooledTemporaryFile
from typing import Any, BinaryIO

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request

from harmonizer.arguments import MAX_STRENGTH, Arguments
from harmonizer.documents import parse_document
from harmonizer.images.cutouts import Placing
from harmonizer.images.memory import Blob
from harmonizer.placement import ANCHORS
from harmonizer.serve.answers import RefusedError

FILES = ("image", "mask", "background")
"""Parts that are files."""

PLACING = ("at", "anchor", "scale", "fit", "rotation", "associated", "clean_edges")
"""Fields that say how a cut-out is put on a background."""

FIELDS = ("arguments", "strength", "invert_mask", "fit_mask", *PLACING)
"""Parts that are text."""

_MEMORY = 1 << 20
"""Bytes of a file that are held in memory; more go to the disk."""

_FIELD_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Parts:
    """A request's body.

    Attributes:
        files: Part's name -> its bytes, on the disk if there are many.
        fields: Part's name -> its text.
    """

    files: Mapping[str, BinaryIO]
    fields: Mapping[str, str]

    def blob(self, name: str) -> Blob | None:
        """A file's bytes; None if it did not come."""
        if name not in self.files:
            return None
        file = self.files[name]
        file.seek(0)
        return Blob(file.read(), f"`{name}`")

    def close(self) -> None:
        """Remove what lies on the disk."""
        for file in self.files.values():
            file.close()

    @property
    def strength(self) -> float:
        """0 to 1.5; 1 if it is not said.

        Raises:
            RefusedError: If it is out of range.
        """
        return self._number("strength", 1.0, 0.0, MAX_STRENGTH)

    @property
    def arguments(self) -> Arguments | None:
        """Those that are to be drawn; None if they are not said.

        Raises:
            RefusedError: If they are no JSON.
            ArgumentsError, FilterListError: If they are not arguments.
        """
        if "arguments" not in self.fields:
            return None
        try:
            document = parse_document(self.fields["arguments"])
        except ValueError as error:
            raise RefusedError(
                422, f"`arguments` must be JSON; it cannot be parsed ({error})."
            ) from error
        return Arguments.from_document(document, "`arguments`")

    def flag(self, name: str) -> bool:
        """A field that is `true` or `false`; false if it is not said.

        Raises:
            RefusedError: If it is neither.
        """
        text = self.fields.get(name, "false")
        if text not in ("true", "false"):
            raise RefusedError(422, f"`{name}` must be true or false; got {text[:40]!r}.")
        return text == "true"

    def placing(self) -> Placing | None:
        """How the image is put on the background; None without one.

        Raises:
            RefusedError: If a field is out of range, or there is one and no background.
        """
        background = self.blob("background")
        given = [name for name in PLACING if name in self.fields]
        if background is None and given:
            raise RefusedError(
                422,
                f"`{given[0]}` puts a cut-out on a background; there is none. Send `background`.",
            )
        if background is None:
            return None
        anchor = self.fields.get("anchor", "center")
        if anchor not in ANCHORS:
            raise RefusedError(
                422, f"`anchor` must be one of {', '.join(ANCHORS)}; got {anchor[:40]!r}."
            )
        return Placing(
            background,
            self._point(),
            anchor,
            self._number("scale", 1.0, 1e-3, 1e3),
            self.flag("fit"),
            self._number("rotation", 0.0, -360.0, 360.0),
            self.flag("associated"),
            self.flag("clean_edges"),
        )

    def _point(self) -> tuple[float | str, float | str]:
        text = self.fields.get("at", "50%,50%")
        parts = [part.strip() for part in text.split(",")]
        try:
            if len(parts) != 2 or not all(math.isfinite(float(p.removesuffix("%"))) for p in parts):
                raise ValueError
        except ValueError:
            raise RefusedError(
                422, f"`at` must be X,Y, such as 640,360 or 30%,80%; got {text[:40]!r}."
            ) from None
        x, y = (part if part.endswith("%") else float(part) for part in parts)
        return x, y

    def _number(self, name: str, usual: float, least: float, most: float) -> float:
        text = self.fields.get(name)
        if text is None:
            return usual
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not least <= value <= most:
            raise RefusedError(
                422, f"`{name}` must lie in [{least:g}, {most:g}]; got {text[:40]!r}."
            )
        return value


async def read_parts(request: Request) -> Parts:
    """Bring a request's body to the disk; names of files are not looked at.

    Raises:
        RefusedError: If it is neither multipart/form-data nor an image, or has other parts than
            `FILES` and `FIELDS`, or one of them twice.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind.startswith("image/") or kind == "application/octet-stream":
        file = SpooledTemporaryFile(_MEMORY)  # noqa: SIM115 - `Parts.close` closes it
        try:
            async for chunk in request.stream():
                file.write(chunk)
        except BaseException:
            file.close()
            raise
        return Parts({"image": file}, {})  # type: ignore[dict-item]
    if kind != "multipart/form-data":
        raise RefusedError(
            415,
            "the body must be multipart/form-data with the file `image`, or an image file itself; "
            f"it is {kind[:60] or 'of no kind'!r}. With curl: -F image=@photo.png",
            Connection="close",
        )
    try:
        form = await request.form(
            max_files=len(FILES), max_fields=len(FIELDS), max_part_size=_FIELD_BYTES
        )
    except HTTPException as error:  # Starlette's, of damaged or too many parts
        raise RefusedError(422, f"the multipart body must be whole: {error.detail}") from error
    files: dict[str, Any] = {}
    fields: dict[str, Any] = {}
    for name, value in form.multi_items():
        known, into = (FILES, files) if isinstance(value, UploadFile) else (FIELDS, fields)
        if name not in known or name in into:
            await form.close()
            raise _unwanted(name, value)
        into[name] = value.file if isinstance(value, UploadFile) else value
    return Parts(files, fields)


def _unwanted(name: str, value: object) -> RefusedError:
    shown = name[:40]
    if name in FILES and not isinstance(value, UploadFile):
        return RefusedError(
            422,
            f"`{shown}` must be a file; it is a text. Send the file itself: no address is fetched. "
            f"With curl: -F {name}=@photo.png",
        )
    if name in (*FILES, *FIELDS):
        return RefusedError(422, f"`{shown}` must come once, files as files and fields as text.")
    known = f"one of the files {', '.join(FILES)} or the fields {', '.join(FIELDS)}"
    return RefusedError(422, f"a part must be {known}; got {shown!r}. Leave it out.")
