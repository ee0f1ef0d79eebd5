"""Write the SHA-256 of the shipped models beside them; loading a model checks it.

python export/hashes.py models
"""

import argparse
import sys
from pathlib import Path

from harmonizer.errors import HarmonizerError
from harmonizer.onnx_files import HASHES, hashes_of
from harmonizer.storage import write_atomically

SUFFIXES = (".onnx", ".safetensors")


def main() -> int:
    """The command line; 0 on success, 2 for bad input."""
    parser = argparse.ArgumentParser(description="Write the hashes of models.", allow_abbrev=False)
    parser.add_argument("folder", type=Path, help="folder of the models")
    folder: Path = parser.parse_args().folder
    try:
        models = (path for path in folder.iterdir() if path.suffix in SUFFIXES)
        write_atomically(folder / HASHES, hashes_of(models))
    except (HarmonizerError, OSError) as error:
        print(f"hashes: error: {error}", file=sys.stderr)
        return 2
    print(folder / HASHES)
    return 0


if __name__ == "__main__":
    sys.exit(main())
