"""The demonstration behind `make demo`: composites in, harmonized files and a picture out.

Writes composites made from scikit-image's photographs as files, harmonizes them with the
`harmonizer` command and an exported model at full resolution, does the same with the real
composites of the shared data where those are found, and puts before and after side by side.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np
import skimage.data
import torch
from numpy.typing import NDArray
from PIL import Image

from export.samples import PERTURBATIONS, sample_photos
from harmonizer.endings import ending_well
from harmonizer.ops import DEFAULT_FILTERS
from harmonizer.usage import says_errors, tool_parser
from train.data.opening import data_folder
from train.evaluation.metrics import foreground_mse
from train.evaluation.report import contact_sheet
from train.filters import apply_filters, blend

ROW_HEIGHT = 300
REAL_COMPOSITES = 6
Picture = NDArray[np.uint8]


def write_samples(folder: Path) -> None:
    """Write composite, mask and photograph of every sample as PNG files below `folder`."""
    for kind in ("composite", "mask", "photograph"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    for photo in sample_photos():
        image, mask = _tensor(photo.pixels), _tensor(photo.mask[:, :, None])
        arguments = torch.tensor([PERTURBATIONS[photo.name]])
        stages = apply_filters(image, arguments, DEFAULT_FILTERS)
        composite = blend(stages[-1], image, mask)[0].permute(1, 2, 0).numpy()
        pictures = {
            "composite": (composite * 255 + 0.5).astype(np.uint8),
            "mask": photo.mask,
            "photograph": photo.pixels,
        }
        for kind, picture in pictures.items():
            Image.fromarray(picture).save(folder / kind / f"{photo.name}.png")


def place_cutout(folder: Path, model: Path) -> Path:
    """Put the astronaut, cut out, on a photograph of a launch pad at dusk, as README shows it.

    Args:
        folder: Where cutout.png, photo.jpg and what is made of them go.
        model: Predictor.

    Returns:
        The picture: cut-out, composite, result.

    Raises:
        subprocess.CalledProcessError: If the `harmonizer` command fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    person = next(photo for photo in sample_photos() if photo.name == "astronaut")
    Image.fromarray(np.dstack([person.pixels, person.mask])).save(folder / "cutout.png")
    pad = skimage.data.rocket()
    Image.fromarray(pad).save(folder / "photo.jpg", quality=95)
    words = ["image", "cutout.png", "--background", "photo.jpg", "-o", "result.jpg"]
    words += ["--at", "28%,100%", "--anchor", "bottom", "--scale", "0.75"]
    words += ["--save-composite", "composite.png", "--model", str(model.resolve())]
    subprocess.run([sys.executable, "-m", "harmonizer", *words], check=True, cwd=folder)
    alone = Image.new("RGB", (512, 512), (235, 235, 235))
    with Image.open(folder / "cutout.png") as cutout:
        alone.paste(cutout, mask=cutout.getchannel("A"))
    row = [np.asarray(alone), _read(folder / "composite.png"), _read(folder / "result.jpg")]
    picture, captions = folder / "cutout.jpg", ["cut-out", "on a photograph", "harmonized"]
    contact_sheet([(captions, row)], ROW_HEIGHT).save(picture, quality=92)
    return picture


def _tensor(pixels: Picture) -> torch.Tensor:
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 255


def _read(path: Path, mode: str = "RGB") -> Picture:
    with Image.open(path) as image:
        return np.array(image.convert(mode))


@says_errors("demo")
def main() -> int:
    """Run the demonstration; the exit code is the `harmonizer` command's."""
    parser = tool_parser(__doc__)
    parser.add_argument("--model", type=Path, required=True, help="predictor ONNX file")
    parser.add_argument("--output", type=Path, required=True, help="folder for everything made")
    args = parser.parse_args()
    samples, results = args.output / "samples", args.output / "harmonized"
    write_samples(samples)
    inputs = [(samples / "composite", samples / "mask", results, ".png")]
    real = data_folder() / "real_composites"
    if real.is_dir():
        inputs.append((real / "composite", real / "mask", args.output / "real", ".jpg"))
    else:
        print(f"no real composites at {real}: harmonizing scikit-image's photographs only")
    for composites, masks, output, _ in inputs:
        words = ["batch", str(composites), str(masks), "-o", str(output), "--model"]
        command = [sys.executable, "-m", "harmonizer", *words, str(args.model)]
        code = subprocess.run(command, check=False).returncode
        if code:
            return code

    print("\nfMSE of the foreground against the original photograph (0..255 scale)")
    rows: list[tuple[list[str], list[Picture]]] = []
    captions = ["composite", "harmonized", "original photograph"]
    for path in sorted((samples / "composite").glob("*.png")):
        before, after = _read(path), _read(results / path.name)
        target = _read(samples / "photograph" / path.name)
        mask = _tensor(_read(samples / "mask" / path.name, "L")[:, :, None])
        errors = [foreground_mse(_tensor(p), _tensor(target), mask).item() for p in (before, after)]
        print(f"  {path.stem:12} composite {errors[0]:7.1f}   harmonized {errors[1]:7.1f}")
        rows.append((captions, [before, after, target]))
    picture = args.output / "before_after.jpg"
    contact_sheet(rows, ROW_HEIGHT).save(picture, quality=92)
    print(f"before and after: {picture}")
    print(f"a cut-out on a photograph: {place_cutout(args.output / 'cutout', args.model)}")
    if real.is_dir():
        paths = sorted((args.output / "real").glob("*.jpg"))[:: max(1, 25 // REAL_COMPOSITES)]
        pairs = [[_read(real / "composite" / p.name), _read(p)] for p in paths[:REAL_COMPOSITES]]
        picture = args.output / "real_before_after.jpg"
        contact_sheet([(captions[:2], pair) for pair in pairs], ROW_HEIGHT).save(
            picture, quality=92
        )
        print(f"real composites: {picture}")
    return 0


if __name__ == "__main__":
    sys.exit(ending_well(main))
