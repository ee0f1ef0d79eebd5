"""Pictures as rows of a Ray dataset: Parquet, tables, pipelines of one's own."""

import json
from typing import Any

import ray.data

from harmonizer.composites import harmonize_file
from harmonizer.errors import HarmonizerError, ImageFileError
from harmonizer.images.files import FORMATS
from harmonizer.images.memory import Blob, Sink
from harmonizer.limits import max_file_bytes
from harmonizer.opening import Opening
from harmonizer.picture import FileOptions
from harmonizer.ray.crew import Crew
from harmonizer.ray.objects import Folder
from harmonizer.recipes import Recipe
from harmonizer.systems import return_large_blocks


class _Rows:
    """One worker's process."""

    def __init__(
        self, opening: Opening, recipe: Recipe, options: FileOptions, suffix: str, tries: int
    ) -> None:
        return_large_blocks()
        self._tools = opening.open(recipe)
        self._recipe = recipe
        self._options = options
        self._suffix = suffix
        self._tries = tries
        self._most = max_file_bytes(options.max_pixels)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        for turn in range(self._tries):
            try:
                return {**row, **self._done(row)}
            except HarmonizerError as error:  # the picture's own fault
                return {**row, **_failed(str(error))}
            except Exception as error:  # one bad row must not end the pipeline; it says so
                if turn + 1 == self._tries:
                    return {**row, **_failed(f"{type(error).__name__}: {error}")}
        raise AssertionError("a row is tried once at least")

    def _done(self, row: dict[str, Any]) -> dict[str, Any]:
        image, mask = self._blob(row, "image"), self._blob(row, "mask")
        if image is None:
            raise ImageFileError("`image` must have a file's bytes or its address; it is empty.")
        target = row.get("output") or ""
        folder, _, name = str(target).rpartition("/")
        suffix = f".{name.rpartition('.')[2]}" if target else self._suffix
        sink = Sink(suffix, name or "the output")
        result = harmonize_file(self._tools, image, mask, sink, self._recipe, self._options)
        if target:
            place = Folder(folder)
            place.write(place.root / name, sink.data)
        return {
            "harmonized": b"" if target else sink.data,
            "arguments": json.dumps(result.arguments.document()),
            "notes": json.dumps(result.notes),
            "error": "",
        }

    def _blob(self, row: dict[str, Any], column: str) -> Blob | None:
        value = row.get(column)
        if value is None or len(value) == 0:
            return None
        if isinstance(value, bytes):
            return Blob(value, f"`{column}`")
        folder, _, name = str(value).rpartition("/")
        place = Folder(folder)
        return Blob(place.read(place.root / name, self._most), str(value))


def harmonize_rows(
    dataset: "ray.data.Dataset",
    recipe: Recipe | None = None,
    options: FileOptions | None = None,
    opening: Opening | None = None,
    crew: Crew | None = None,
    suffix: str = ".png",
) -> "ray.data.Dataset":
    """Harmonize a dataset's rows, lazily; a row that fails says why and does not end the others.

    A row has `image` and `mask`: a file's bytes, or its address (a path, s3://bucket/a.png, what
    pyarrow and fsspec know); without a mask the image's alpha is it. With `output`, an address, the
    picture is written there, in the format of its suffix. Other columns are kept.

    Args:
        dataset: Of `ray.data.read_parquet`, `from_items`, ...
        recipe: Where the arguments come from; None to predict.
        options: How files are read and written.
        opening: How each worker opens its network; None for one thread on the default model.
        crew: Who works.
        suffix: Names the format of pictures that come back in their rows.

    Returns:
        The rows with `harmonized` (the picture's bytes; empty where it was written elsewhere),
        `arguments` and `notes` (JSON), and `error` (empty where there is none).

    Raises:
        ImageFileError: If the suffix names no format that is written.
    """
    if suffix not in FORMATS:
        raise ImageFileError(f"`suffix` must be one of {', '.join(FORMATS)}; got {suffix!r}.")
    crew = crew or Crew()
    opening = (opening or Opening(threads=1)).absolute()
    return dataset.map(
        _Rows,
        fn_constructor_args=(
            opening,
            recipe or Recipe(),
            options or FileOptions(),
            suffix,
            crew.tries,
        ),
        compute=ray.data.ActorPoolStrategy(size=crew.workers),
        num_cpus=crew.cpus,
        num_gpus=crew.gpus or None,
    )


def _failed(error: str) -> dict[str, Any]:
    return {"harmonized": b"", "arguments": "", "notes": "[]", "error": error}
