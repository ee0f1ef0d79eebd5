"""Parity of an exported graph with torch, on real photographs, through Polygraphy.

python export/verify.py MODEL.onnx --checkpoint CKPT
"""

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from polygraphy.backend.base import BaseRunner
from polygraphy.backend.onnxrt import OnnxrtRunner, SessionFromOnnx
from polygraphy.common import TensorMetadata
from polygraphy.comparator import Comparator
from polygraphy.logger import G_LOGGER
from torch import Tensor

from export import tolerances
from export.metadata import Precision, Variant
from export.samples import sample_photos
from harmonizer.contract import END_TO_END_FORMAT, FORMAT, LABELS
from harmonizer.endings import ending_well
from harmonizer.errors import HarmonizerError, ModelError
from harmonizer.images.files import load_photo
from harmonizer.onnx_files import load_onnx
from harmonizer.usage import says_errors, tool_parser
from train.checkpoints import load_checkpoint
from train.data.synthesis import draw_arguments, synthesize
from train.filters import apply_filters
from train.network import HarmonizerNet, thumbnail
from train.registry import DEFAULT_MODEL, Network, contract_of
from train.s2crnet import one_hot

SEED = 6
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
MAX_IMAGES = 16
Feed = dict[str, NDArray[np.float32]]


class ParityError(HarmonizerError):
    """An exported graph does not compute what the network computes."""


@dataclass(frozen=True)
class ParityReport:
    """Largest differences from torch over all images of the check.

    Attributes:
        images: How many composites were compared.
        arguments_max: Largest absolute difference of an argument.
        pixels_max, pixels_mean: Absolute differences of the drawn images, in [0, 1].
    """

    images: int
    arguments_max: float
    pixels_max: float
    pixels_mean: float

    def __str__(self) -> str:
        return (
            f"parity on {self.images} composites: arguments max abs error "
            f"{self.arguments_max:.2e}; pixels max {self.pixels_max:.2e} "
            f"({self.pixels_max * 255:.3f} levels), mean {self.pixels_mean:.2e}"
        )


def photographs(images: Path) -> list[Path]:
    """The photographs of a folder, in order; asked before an export, which takes minutes.

    Raises:
        ValueError: If it is no folder, or holds none.
    """
    if not images.is_dir():
        raise ValueError(
            f"--images must be a folder of photographs; {images} is none. Check the path, or "
            "leave it out to use scikit-image's."
        )
    paths = sorted(
        p for p in images.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and p.name[0] != "."
    )
    if not paths:
        raise ValueError(
            f"{images} must hold photographs ({', '.join(IMAGE_SUFFIXES)}); it holds none. "
            "Leave --images out to use scikit-image's."
        )
    return paths


def composites(images: Path | None, filters: tuple[str, ...]) -> Iterator[tuple[Tensor, Tensor]]:
    """Composites of real photographs: their foreground perturbed by random arguments.

    Args:
        images: A folder of photographs, whose foreground is then an ellipse in the middle;
            scikit-image's photographs with their outlines by default.
        filters: The operations that perturb.

    Yields:
        Composite (1, 3, H, W) float32 in [0, 1] and mask (1, 1, H, W).

    Raises:
        ValueError: As `photographs`.
        ImageFileError: If one cannot be read.
    """
    generator = torch.Generator().manual_seed(SEED)
    if images is None:
        pairs = [(_unit(photo.pixels), _unit(photo.mask)) for photo in sample_photos()] * 3
    else:
        photos = [_unit(load_photo(p).pixels) for p in photographs(images)[:MAX_IMAGES]]
        pairs = [(pixels, _ellipse(*pixels.shape[:2])) for pixels in photos]
    for pixels, coverage in pairs:
        photo = torch.from_numpy(pixels).permute(2, 0, 1)[None].contiguous()
        mask = torch.from_numpy(coverage)[None, None]
        yield synthesize(photo, mask, draw_arguments(1, filters, generator), filters)[0], mask


def _unit(stored: NDArray[Any]) -> NDArray[np.float32]:
    return stored.astype(np.float32) / np.float32(np.iinfo(stored.dtype).max)


def _ellipse(height: int, width: int) -> NDArray[np.float32]:
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    inside: NDArray[np.bool_] = (x / 0.5) ** 2 + (y / 0.6) ** 2 < 1
    return inside.astype(np.float32)


class TorchRunner(BaseRunner):  # type: ignore[misc]
    """The network in torch on the CPU (Polygraphy's own torch runner insists on a GPU)."""

    def __init__(self, network: Network, variant: Variant) -> None:
        super().__init__(name="torch")
        self.network, self.variant = network, variant
        self.inputs = contract_of(network.config).inputs
        if variant == "end-to-end":
            label = {name: shape for name, shape in self.inputs.items() if name == "label"}
            self.inputs = {"composite": (3, -1, -1), "mask": (1, -1, -1)} | label

    def get_input_metadata_impl(self) -> TensorMetadata:
        """Names, types and shapes of the inputs; -1 stands for any size."""
        metadata = TensorMetadata()
        for name, shape in self.inputs.items():
            metadata.add(name, np.dtype(np.float32), (-1, *shape))
        return metadata

    def infer_impl(self, feed_dict: Feed) -> Feed:
        """The outputs that the exported variant has, by name."""
        began = time.perf_counter()
        inputs = [torch.from_numpy(feed_dict[name]) for name in self.inputs]
        with torch.inference_mode():
            if self.variant == "predictor":
                outputs = {"arguments": self.network(*inputs).numpy()}
            else:
                composite, mask = inputs[:2]
                arguments = self._predict(composite, mask, inputs[2:])
                stages = self.network.render(composite, mask, arguments)
                outputs = {"arguments": arguments.numpy(), "harmonized": stages[-1].numpy()}
        self.inference_time = time.perf_counter() - began
        return outputs

    def _predict(self, composite: Tensor, mask: Tensor, label: list[Tensor]) -> Tensor:
        if isinstance(self.network, HarmonizerNet) or not label:
            return self.network.predict_arguments(composite, mask)
        names = [LABELS[int(index)] for index in label[0].argmax(dim=1)]
        return self.network.predict_arguments(composite, mask, names)


def verify(
    path: Path,
    network: Network,
    variant: Variant,
    precision: Precision,
    images: Path | None = None,
) -> ParityReport:
    """Run the graph in ONNX Runtime and the network in torch on the same composites.

    Args:
        path: The exported file.
        network: The float32 network, in eval mode.
        variant, precision: What was exported; the precision chooses the tolerance.
        images: As in `composites`.

    Returns:
        The measured differences.

    Raises:
        ParityError: If the graph does not run, or a difference exceeds its tolerance or is not
            finite.
    """
    filters = network.config.filters
    reference = TorchRunner(network, variant)
    feeds: list[Feed] = []
    pictures = []
    for index, (composite, mask) in enumerate(composites(images, network.config.synthesis_filters)):
        inputs: tuple[Tensor, ...] = (composite, mask)
        if variant == "predictor":
            inputs = network.prepare(composite, mask)
        if network.config.labelled:
            inputs = (*inputs[:2], one_hot([LABELS[index % len(LABELS)]]))
        names = reference.inputs
        feeds.append({name: t.numpy() for name, t in zip(names, inputs, strict=True)})
        pictures.append(thumbnail(composite))
    runners = [
        reference,
        OnnxrtRunner(SessionFromOnnx(str(path)), name="onnxruntime"),
    ]
    with G_LOGGER.verbosity(G_LOGGER.ERROR):
        try:
            results = Comparator.run(runners, data_loader=feeds)
        except Exception as error:  # ONNX Runtime's errors share no base class
            raise ParityError(f"{path} must run in ONNX Runtime; it does not: {error}") from error
    arguments_max, pixel_errors = 0.0, []
    for picture, expected, got in zip(
        pictures, results["torch"], results["onnxruntime"], strict=True
    ):
        want, have = np.asarray(expected["arguments"]), np.asarray(got["arguments"])
        arguments_max = float(np.maximum(arguments_max, np.abs(want - have).max()))
        if variant == "predictor":
            drawn = [apply_filters(picture, torch.tensor(a), filters)[-1] for a in (want, have)]
            difference = (drawn[0] - drawn[1]).abs().numpy()
        else:
            difference = np.abs(np.asarray(expected["harmonized"]) - np.asarray(got["harmonized"]))
        pixel_errors.append(difference)
    report = ParityReport(
        images=len(feeds),
        arguments_max=arguments_max,
        pixels_max=float(np.max([e.max() for e in pixel_errors])),
        pixels_mean=float(np.mean([e.mean() for e in pixel_errors])),
    )
    fp32 = precision == "fp32"
    arguments_limit = tolerances.ONNX_FP32_ARGUMENTS if fp32 else tolerances.ONNX_FP16_ARGUMENTS
    if network.config.model == "s2crnet":
        arguments_limit = tolerances.ONNX_FP32_SLOPES if fp32 else tolerances.ONNX_FP16_SLOPES
    pixels_limit = tolerances.ONNX_FP32_PIXELS if fp32 else tolerances.ONNX_FP16_PIXELS
    # Written as "not <=" so that NaN fails too.
    if not (report.arguments_max <= arguments_limit and report.pixels_max <= pixels_limit):
        raise ParityError(
            f"{report}; allowed are {arguments_limit:g} for arguments and {pixels_limit:g} for "
            f"pixels at {precision} (export/tolerances.py)."
        )
    return report


@says_errors("verify")
def main() -> int:
    """The command line; 0 if the file keeps its tolerances, 1 if not, 2 for bad input."""
    parser = tool_parser(__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--images", type=Path, help="folder of photographs to check on")
    args = parser.parse_args()
    try:
        variant, precision, model = _described(args.model)
        network = load_checkpoint(args.checkpoint)
        if network.config.model != model:
            raise ModelError(
                f"{args.model} must be exported from the checkpoint's network; it is a {model}, "
                f"{args.checkpoint} a {network.config.model}. Name its own checkpoint."
            )
        print(verify(args.model, network, variant, precision, args.images))
    except ParityError as error:
        print(f"verify: parity failed: {error}", file=sys.stderr)
        return 1
    return 0


def _described(path: Path) -> tuple[Variant, Precision, str]:
    """What the file holds: variant, precision and the network's name."""
    facts = load_onnx(path).metadata
    formats: dict[str, Variant] = {FORMAT: "predictor", END_TO_END_FORMAT: "end-to-end"}
    precisions: dict[str, Precision] = {"fp32": "fp32", "fp16": "fp16"}
    variant = formats.get(facts.get("harmonizer.format", ""))
    precision = precisions.get(facts.get("harmonizer.precision", ""))
    if variant is not None and precision is not None:
        return variant, precision, facts.get("harmonizer.model", DEFAULT_MODEL)
    raise ModelError(
        f"{path} must be an ONNX file written by export/to_onnx.py; its metadata says "
        f"{facts or 'nothing'}. Export it again."
    )


if __name__ == "__main__":
    sys.exit(ending_well(main))
