"""Choose, once, whose colours each photograph of val takes on: `donors.csv` beside this file.

python -m train.evaluation.donors VAL TRAIN [--output FILE.csv]
"""

import csv
import io
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from harmonizer.storage import write_atomically
from harmonizer.usage import check_outputs, says_errors, tool_parser
from train.data.neighbours import DUPLICATE, NEAREST, crop_foreground
from train.data.packing import in_parallel
from train.data.photos import list_photos, read_photo
from train.evaluation.triplets import DONORS
from train.pretrained import Embedder

SEED = 2210


@says_errors("donors")
def main(arguments: Sequence[str] | None = None) -> int:
    """Write the list; 2 for bad input."""
    parser = tool_parser(__doc__)
    parser.add_argument("val", type=Path, help="folder whose photographs are recoloured")
    parser.add_argument("train", type=Path, help="folder beside it that donors come from")
    parser.add_argument("--output", type=Path, default=DONORS)
    options = parser.parse_args(arguments)
    check_outputs({"--output": options.output}, [])
    write_atomically(options.output, choose(options.val, options.train).encode())
    return 0


def choose(val: Path, train: Path) -> str:
    """The list as CSV: of each photograph with a mask, one of the nearest donors, at random."""
    network = Embedder()
    own, others = (_embedded(network, folder) for folder in (val, train))
    likeness = own[1] @ others[1].T
    likeness[likeness > DUPLICATE] = -1
    nearest = likeness.topk(NEAREST, dim=1).indices
    random = np.random.default_rng(SEED)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["file", "donor", "donor_mask"])
    for (file, _), near in zip(own[0], nearest, strict=True):
        donor, mask = others[0][int(near[random.integers(NEAREST)])]
        writer.writerow([file, f"{train.name}/{donor}", f"{train.name}/{mask}"])
    return text.getvalue()


def _embedded(network: Embedder, folder: Path) -> tuple[list[tuple[str, str]], Tensor]:
    """File and mask of each masked photograph, and (n, WIDTH) what the network makes of them."""
    photos = [photo for photo in list_photos(folder) if photo.mask]

    def embed(index: int) -> Tensor:
        pixels, mask = read_photo(folder, photos[index])
        assert mask is not None
        crop = crop_foreground(np.ascontiguousarray(pixels.transpose(2, 0, 1)), mask)
        with torch.inference_mode():
            vectors, _ = network(torch.from_numpy(crop)[None].float() / 255)
        vector: Tensor = vectors[0]
        return vector

    vectors = torch.stack(list(in_parallel(embed, range(len(photos)), f"embedding {folder.name}")))
    return [(photo.file, str(photo.mask)) for photo in photos], vectors


if __name__ == "__main__":
    sys.exit(main())
