"""What can be evaluated: four kinds of model, each opened as one function.

The function takes a composite (H, W, 3) and its mask (H, W), both uint8 or both float32 in [0, 1],
and returns the harmonized image in the composite's type: 8-bit images are rounded to nearest, as a
file would hold them. All run on the CPU with one thread, so that the figures do not depend on how
many processes share the machine.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from harmonizer import Harmonizer
from harmonizer.contract import DEFAULT_LABEL, END_TO_END_FORMAT, FORMAT
from harmonizer.errors import ModelError, shortened
from harmonizer.predictor import plain_session
from train.checkpoints import load_checkpoint
from train.evaluation.triplets import planes
from train.filters import apply_filters, blend, split_arguments
from train.network import THUMBNAIL, thumbnail
from train.s2crnet import one_hot

Kind = Literal["checkpoint", "predictor", "end-to-end", "black-box"]
Upsample = Literal["bilinear", "pcm"]
UPSAMPLES: tuple[Upsample, ...] = get_args(Upsample)

Array = NDArray[Any]
Harmonize = Callable[[Array, Array], Array]

OVERSHOOT = 0.5
"""How far beyond [0, 1] a graph may answer before its scale is taken for another one."""


@dataclass(frozen=True)
class Method:
    """A model to evaluate.

    Attributes:
        kind: "checkpoint": the torch network, drawn by the torch filters; "predictor": predictor
            ONNX and fused renderer; "end-to-end": one ONNX graph at any size; "black-box": any
            image-to-image ONNX at 256x256.
        path: The model file.
        upsample: How a black box's answer is brought to the original size; None for other kinds.
    """

    kind: Kind
    path: Path
    upsample: Upsample | None = None

    def sha256(self) -> str:
        """SHA-256 of the file, in hexadecimal."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def open(self) -> Harmonize:
        """Load the model.

        Raises:
            ModelError: If it is not a model of this kind.
            FileNotFoundError: If there is no such checkpoint.
        """
        if self.kind == "checkpoint":
            return _torch_reference(self.path)
        if self.kind == "predictor":
            return _fused(self.path)
        if self.kind == "end-to-end":
            return _end_to_end(self.path)
        return _black_box(self.path, self.upsample or "bilinear")


def _torch_reference(path: Path) -> Harmonize:
    network = load_checkpoint(path)

    def harmonize(composite: Array, mask: Array) -> Array:
        original, coverage = planes(composite), planes(mask)
        arguments = network.predict_arguments(original, coverage)
        if not arguments.isfinite().all():
            raise ModelError(
                f"{path} must predict finite arguments; it gave {arguments.tolist()}. It is "
                "damaged, or its training diverged."
            )
        image = original
        # One filter at a time: a list of all stages would not fit at full resolution.
        filters = network.config.filters
        for name, argument in zip(filters, split_arguments(arguments, filters, 1), strict=True):
            (image,) = apply_filters(image, argument.view(1, -1), (name,))
        return _pixels(blend(image, original, coverage), composite.dtype)

    return harmonize


def _fused(path: Path) -> Harmonize:
    harmonizer = Harmonizer(path, threads=1)

    def harmonize(composite: Array, mask: Array) -> Array:
        arguments, _ = harmonizer.examine(composite, mask)
        return harmonizer.render(composite, mask, arguments)

    return harmonize


def _end_to_end(path: Path) -> Harmonize:
    session = _open_session(path)
    kind = session.get_modelmeta().custom_metadata_map.get("harmonizer.format")
    if kind != END_TO_END_FORMAT:
        remedy = "Give it as --predictor" if kind == FORMAT else "Give it as --black-box, or export"
        raise ModelError(
            f'{path} must say harmonizer.format = "{END_TO_END_FORMAT}" in its metadata; it says '
            f"{kind!r}. {remedy}; export/to_onnx.py --variant end-to-end writes such graphs."
        )

    labelled = any(value.name == "label" for value in session.get_inputs())

    def harmonize(composite: Array, mask: Array) -> Array:
        feed = {"composite": planes(composite).numpy(), "mask": planes(mask).numpy()}
        if labelled:  # the sets do not say what their foregrounds show
            feed["label"] = one_hot([DEFAULT_LABEL]).numpy()
        shape = (1, 3, *composite.shape[:2])
        return _pixels(_run(path, session, "harmonized", feed, shape), composite.dtype)

    return harmonize


def _black_box(path: Path, upsample: Upsample) -> Harmonize:
    session = _open_session(path)
    composite_input, mask_input, output = _layout(path, session)

    def harmonize(composite: Array, mask: Array) -> Array:
        original, coverage = planes(composite), planes(mask)
        small, small_mask = thumbnail(original), thumbnail(coverage)
        if mask_input is None:
            feed = {composite_input: torch.cat([small, small_mask], dim=1).numpy()}
        else:
            feed = {composite_input: small.numpy(), mask_input: small_mask.numpy()}
        answer = _run(path, session, output, feed, (1, 3, THUMBNAIL, THUMBNAIL)).clamp(0, 1)
        if original.shape == small.shape:
            drawn = answer
        elif upsample == "bilinear":
            drawn = F.interpolate(answer, original.shape[-2:], mode="bilinear")
        else:
            drawn = apply_colour_map(original, fit_colour_map(small, answer, small_mask))
        return _pixels(blend(drawn, original, coverage), composite.dtype)

    return harmonize


def fit_colour_map(composite: Tensor, harmonized: Tensor, mask: Tensor) -> NDArray[np.float64]:
    """Fit the polynomial colour mapping (PCM) that turns composite into harmonized colours.

    Eleven terms, R G B RG RB GB R^2 G^2 B^2 RGB 1 (Hong, Luo and Rhodes, Color Research and
    Application 26(1), 2001); the baseline of Harmonizer's table 2. Each pixel weighs as much as its
    mask. What is fitted is the difference harmonized - composite, by the least-squares solution of
    smallest norm (singular values below 1e-6 of the largest count as 0): colours that a plain
    foreground does not show then stay as they are.

    Args:
        composite, harmonized: (1, 3, H, W) in [0, 1].
        mask: (1, 1, H, W) in [0, 1]; an empty one gives the identity.

    Returns:
        (11, 3): the factors of the terms, for each channel of the difference.
    """
    weight = mask.flatten().double().sqrt()
    inside = weight > 0
    before, after = (t[0].flatten(1).T[inside].double() for t in (composite, harmonized))
    weight = weight[inside, None]
    matrix, rest = (_terms(before) * weight).numpy(), ((after - before) * weight).numpy()
    factors: NDArray[np.float64] = np.linalg.lstsq(matrix, rest, rcond=1e-6)[0]
    return factors


def apply_colour_map(image: Tensor, factors: NDArray[np.float64]) -> Tensor:
    """Draw a map of `fit_colour_map` on (1, 3, H, W), row by row; clipped to [0, 1]."""
    drawn = torch.empty_like(image)
    matrix = torch.from_numpy(factors).to(image.dtype)
    for row in range(image.shape[2]):
        colours = image[0, :, row].T
        drawn[0, :, row] = (colours + _terms(colours) @ matrix).clamp(0, 1).T
    return drawn


def _terms(colours: Tensor) -> Tensor:
    """(n, 3) to (n, 11)."""
    r, g, b = colours.unbind(1)
    one = torch.ones_like(r)
    return torch.stack([r, g, b, r * g, r * b, g * b, r * r, g * g, b * b, r * g * b, one], dim=1)


def _layout(path: Path, session: Any) -> tuple[str, str | None, str]:
    """Names of the composite's input, the mask's (None: the composite's fourth channel), output."""
    inputs = {_channels(value): value.name for value in session.get_inputs()}
    count = len(session.get_inputs())
    outputs = [value.name for value in session.get_outputs() if _channels(value) == 3]
    if len(outputs) == 1:
        if count == 2 and set(inputs) == {3, 1}:
            return inputs[3], inputs[1], outputs[0]
        if count == 1 and 4 in inputs:
            return inputs[4], None, outputs[0]
    found = "; ".join(
        f"its {word} are {', '.join(f'{v.name} {v.type} {v.shape}' for v in values)}"
        for word, values in (("inputs", session.get_inputs()), ("outputs", session.get_outputs()))
    )
    raise ModelError(
        f"{path} must take a composite Nx3x256x256 and a mask Nx1x256x256, or both as one "
        f"Nx4x256x256 (R, G, B, mask), and give one image Nx3x256x256, all float32 in [0, 1]; "
        f"{found}. Wrap or export the model so."
    )


def _channels(value: Any) -> int | None:
    """The channels of a float32 value that can be (1, C, 256, 256); None if it cannot."""
    wanted = (1, None, THUMBNAIL, THUMBNAIL)
    if value.type != "tensor(float)" or len(value.shape) != len(wanted):
        return None
    if any(
        isinstance(size, int) and expected is not None and size != expected
        for size, expected in zip(value.shape, wanted, strict=True)
    ):
        return None
    return value.shape[1] if isinstance(value.shape[1], int) else None


def _open_session(path: Path) -> Any:
    if not path.is_file():
        raise ModelError(
            f"the model must be an ONNX file; there is none at {path}. Check the path."
        )
    try:
        return plain_session(path, 1)
    except Exception as error:  # ONNX Runtime's error classes share no public base
        raise ModelError(
            f"{path} must be an ONNX model that ONNX Runtime {version('onnxruntime')} can run; "
            f"it is not ({shortened(error)}). Export it again, or update ONNX Runtime."
        ) from error


def _run(
    path: Path, session: Any, output: str, feed: dict[str, Array], shape: tuple[int, ...]
) -> Tensor:
    """Run a graph that answers with an image of a shape, in [0, 1] but for some overshoot."""
    try:
        answer = torch.from_numpy(session.run([output], feed)[0])
    except Exception as error:  # ONNX Runtime's error classes share no public base
        raise ModelError(
            f"{path} must run on {', '.join(f'{k} {v.shape}' for k, v in feed.items())}; ONNX "
            f"Runtime fails ({shortened(error)}). Export it again with inputs of these shapes."
        ) from error
    low, high = answer.min().item(), answer.max().item()
    # Written as "not" so that NaN fails too.
    if tuple(answer.shape) != shape or not (low >= -OVERSHOOT and high <= 1 + OVERSHOOT):
        raise ModelError(
            f"{path} must answer with an image {shape} in [0, 1]; it gave {tuple(answer.shape)} "
            f"from {low:g} to {high:g}. Wrap the model so that it takes and gives [0, 1]."
        )
    return answer


def _pixels(image: Tensor, dtype: np.dtype[Any]) -> Array:
    """(1, 3, H, W) in [0, 1] to (H, W, 3) uint8, rounded, or float32."""
    array = image[0].permute(1, 2, 0)
    if dtype == np.uint8:
        return array.mul(255).round_().to(torch.uint8).contiguous().numpy()
    return array.contiguous().numpy()
