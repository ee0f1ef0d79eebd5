"""Harmonize every picture of a folder with the mask of the same name, in four threads.

python examples/folder.py composites/ masks/ output/
"""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from harmonizer import Harmonizer, HarmonizerError
from harmonizer.images.files import load_pair, save_photo

if len(sys.argv) != 4:
    sys.exit(__doc__)
composites, masks, output = map(Path, sys.argv[1:4])
output.mkdir(exist_ok=True)


def work(path: Path) -> str:
    """Harmonize one file; what became of it."""
    try:
        photo, mask, _ = load_pair(path, masks / f"{path.stem}.png")
        save_photo(output / path.name, harmonizer(photo.pixels, mask), like=photo)
    except HarmonizerError as error:  # one bad file is no reason to stop
        return f"failed: {error}"
    return f"wrote {output / path.name}"


with Harmonizer(threads=1) as harmonizer, ThreadPoolExecutor(4) as pool:
    lines = list(pool.map(work, sorted(composites.iterdir())))
print("\n".join(lines))
sys.exit(any(line.startswith("failed") for line in lines))
