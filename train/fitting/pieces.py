"""`python -m train pieces`: a run's files cut small enough for a narrow way home, and joined again.

python -m train pieces RUN --output DIR         cut
python -m train pieces DIR --output RUN --join  join; then --resume goes on
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from harmonizer.documents import read_document
from harmonizer.errors import HarmonizerError, brief
from harmonizer.reading import CHECKPOINT_LIMIT, read_regular
from harmonizer.storage import make_folder, write_atomically, write_set
from harmonizer.usage import tool_parser
from train.fitting.log import LOG
from train.fitting.state import BEST, CHECKPOINT, CONFIG, STATE

SIZE = 14 << 20
"""Bytes of a piece at most."""

INDEX = "pieces.json"
"""Names each file's pieces and its SHA-256."""


class PiecesError(HarmonizerError, ValueError):
    """A file or a piece is absent, or the pieces are not those of one run."""


def cut(run: Path, output: Path, size: int = SIZE) -> list[str]:
    """Cut a run's files into pieces; their names. All are of one save, or of the one before.

    Raises:
        PiecesError: If there is no run.
        OSError: If they cannot be written; those of before are intact then.
    """
    files = [
        run / name for name in (CHECKPOINT, BEST, STATE, CONFIG, LOG) if (run / name).is_file()
    ]
    if run / STATE not in files:
        raise PiecesError(
            f"{run} must hold a run; there is no {STATE} in it. Name the --output of a run."
        )
    make_folder(output)
    index, written = {}, {}
    for file in files:
        content = file.read_bytes()
        names = []
        for number, first in enumerate(range(0, len(content), size)):
            names.append(f"{file.name}.{number:03}")
            written[output / names[-1]] = content[first : first + size]
        index[file.name] = {"pieces": names, "sha256": hashlib.sha256(content).hexdigest()}
    write_set(written | {output / INDEX: (json.dumps(index, indent=2) + "\n").encode()})
    return [name for entry in index.values() for name in entry["pieces"]]


def join(pieces: Path, run: Path) -> list[str]:
    """Put a run together again; the names of its files.

    Raises:
        PiecesError: If a piece is absent or of another run.
    """
    if not (pieces / INDEX).is_file():
        raise PiecesError(
            f"{pieces} must hold the pieces of a run; there is no {INDEX} in it. Name the --pieces "
            "of a run."
        )
    contents = {}
    for name, (parts, sha256) in _read_index(pieces / INDEX).items():
        absent = [part for part in parts if not (pieces / part).is_file()]
        if absent:
            raise PiecesError(
                f"{pieces} must hold all pieces of {name}; {absent[0]} is absent. Fetch it again."
            )
        contents[name] = b"".join(read_regular(pieces / part, CHECKPOINT_LIMIT) for part in parts)
        if hashlib.sha256(contents[name]).hexdigest() != sha256:
            raise PiecesError(
                f"the pieces of {name} in {pieces} must be of one save; they are not. Fetch them "
                "again."
            )
    make_folder(run)
    for name, content in contents.items():
        write_atomically(run / name, content)
    return list(contents)


def _read_index(path: Path) -> dict[str, tuple[list[str], str]]:
    """Each file's pieces and SHA-256, by names of files without folders."""
    try:
        index = {
            str(name): ([str(part) for part in entry["pieces"]], str(entry["sha256"]))
            for name, entry in read_document(path).items()
        }
    except (OSError, ValueError, AttributeError, KeyError, TypeError) as error:
        raise PiecesError(
            f"{path} must list the pieces of a run; it cannot be read ({brief(error)}). Fetch it "
            "again."
        ) from error
    for name in [*index, *(part for parts, _ in index.values() for part in parts)]:
        if not name or name != Path(name).name or name.startswith("."):
            raise PiecesError(
                f"{path} must name files in its own folder; it names {name[:80]!r}. Fetch it again."
            )
    return index


def main(arguments: Sequence[str]) -> int:
    """Cut or join, and say what was written."""
    parser = tool_parser(__doc__, "python -m train pieces")
    parser.add_argument("source", type=Path, help="the run, or with --join the pieces' folder")
    parser.add_argument("--output", type=Path, required=True, help="folder for what is written")
    parser.add_argument("--join", action="store_true", help="put the run together again")
    options = parser.parse_args(arguments)
    names = (join if options.join else cut)(options.source, options.output)
    print(f"{options.output}: {', '.join(names)}")
    return 0
