"""Write the SHA-256 of the shipped models beside them; loading a model checks it.

python export/hashes.py models
"""

import sys
from pathlib import Path

from harmonizer.onnx_files import HASHES, hashes_of
from harmonizer.storage import write_atomically
from harmonizer.usage import says_errors, tool_parser

SUFFIXES = (".onnx", ".safetensors")


@says_errors("hashes")
def main() -> int:
    """The command line; 0 on success, 2 for bad input."""
    parser = tool_parser(__doc__)
    parser.add_argument("folder", type=Path, help="folder of the models")
    folder: Path = parser.parse_args().folder
    models = (path for path in folder.iterdir() if path.suffix in SUFFIXES)
    write_atomically(folder / HASHES, hashes_of(models))
    print(folder / HASHES)
    return 0


if __name__ == "__main__":
    sys.exit(main())
