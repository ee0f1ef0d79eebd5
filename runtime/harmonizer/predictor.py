"""Predict filter arguments with ONNX Runtime on the CPU.

A predictor returns arguments and never draws. The contract that a model file must keep is
written in its metadata and checked once, when it is loaded.
"""

import hashlib
import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harmonizer.checks import check_threads
from harmonizer.errors import FilterListError, ModelError
from harmonizer.ops import check_filters

THUMBNAIL_SIZE = 256
"""Side of the square image that the network sees."""

FORMAT = "harmonizer-predictor"
END_TO_END_FORMAT = "harmonizer-end-to-end"
FORMAT_VERSION = "1"

_REMEDY = "Export one with: python export/to_onnx.py --checkpoint CKPT --output FILE.onnx"
_INPUTS = {"composite": 3, "mask": 1}
_OUTPUT = "arguments"


def default_model() -> Path:
    """The model that ships inside the package.

    Raises:
        ModelError: If this installation has none.
    """
    path = Path(__file__).parent / "assets" / "harmonizer.onnx"
    if not path.is_file():
        raise ModelError(
            f"the package must contain its model, {path}; it is missing. Run `make model` in the "
            "source tree, or name a model file with --model (Harmonizer(model=...))."
        )
    return path


class OnnxPredictor:
    """A predictor graph in ONNX Runtime; safe to call from several threads.

    Args:
        path: An ONNX file written by ``export/to_onnx.py --variant predictor``.
        threads: Threads of one prediction; None for ONNX Runtime's choice.

    Attributes:
        path: The file.
        filters: The names of the k arguments, in drawing order.
        metadata: Everything that the file says of itself.

    Raises:
        ModelError: If the file is missing or damaged, is not a harmonizer predictor, or has
            another contract.
        TypeError, ValueError: If `threads` is not a whole number, or below 1.
    """

    def __init__(self, path: str | Path, threads: int | None = None) -> None:
        self.path = Path(path)
        self._session: Any = _open_session(self.path, check_threads(threads))
        self.metadata: dict[str, str] = dict(
            self._session.get_modelmeta().custom_metadata_map or {}
        )
        self.filters = check_metadata(self.path, self.metadata)
        self._check_contract()

    def predict(
        self, composite: NDArray[np.float32], mask: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Predict the arguments of a batch of thumbnails.

        Args:
            composite: (N, 3, 256, 256) float32 in [0, 1], R, G, B.
            mask: (N, 1, 256, 256) float32 in [0, 1], 1 in the foreground.

        Returns:
            (N, k) float32 in the order of `filters`; a new array.

        Raises:
            TypeError: If an input is not float32.
            ValueError: If a shape is another, or the batch sizes differ.
            ModelError: If the network cannot be run, its answer is not finite, or the predictor
                is closed.
        """
        session = self._session
        if session is None:
            raise ModelError(f"the predictor {self.path} must be open; it was closed. Load it.")
        for name, array in (("composite", composite), ("mask", mask)):
            if array.dtype != np.float32:
                raise TypeError(f"`{name}` must be float32 in [0, 1]; got {array.dtype}.")
            shape = (_INPUTS[name], THUMBNAIL_SIZE, THUMBNAIL_SIZE)
            if array.ndim != 4 or array.shape[1:] != shape or not len(array):
                raise ValueError(
                    f"`{name}` must have shape (N, {', '.join(map(str, shape))}) with N > 0; got "
                    f"{array.shape}. `CpuRenderer.thumbnail` makes such arrays."
                )
        if len(composite) != len(mask):
            raise ValueError(
                f"`mask` must have the composite's batch size, {len(composite)}; got {len(mask)}."
            )
        try:
            answer: NDArray[np.float32] = session.run(
                [_OUTPUT], {"composite": composite, "mask": mask}
            )[0]
        except Exception as error:  # ONNX Runtime's error classes share no public base
            raise ModelError(
                f"{self.path} must run on thumbnails of {THUMBNAIL_SIZE}x{THUMBNAIL_SIZE}; ONNX "
                f"Runtime fails ({_one_line(error)}). {_REMEDY}"
            ) from error
        if answer.shape != (len(composite), len(self.filters)):
            raise ModelError(
                f"{self.path} must answer with {len(self.filters)} arguments an image "
                f"({', '.join(self.filters)}); it gave shape {answer.shape}. {_REMEDY}"
            )
        if not np.isfinite(answer).all():
            raise ModelError(
                f"{self.path} must answer with finite numbers; it gave {answer.tolist()}. The "
                "model is damaged or overflows in its precision: use the FP32 export."
            )
        return answer

    def sha256(self) -> str:
        """The SHA-256 of the model file, in hexadecimal."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()

    def close(self) -> None:
        """Release the session; `predict` raises afterwards."""
        self._session = None

    def __enter__(self) -> "OnnxPredictor":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _check_contract(self) -> None:
        inputs = {value.name: value for value in self._session.get_inputs()}
        outputs = {value.name: value for value in self._session.get_outputs()}
        expected: dict[str, tuple[Any, tuple[int, ...]]] = {
            name: (inputs.get(name), (channels, THUMBNAIL_SIZE, THUMBNAIL_SIZE))
            for name, channels in _INPUTS.items()
        }
        expected[_OUTPUT] = (outputs.get(_OUTPUT), (len(self.filters),))
        complaints = []
        if set(inputs) != set(_INPUTS):
            complaints.append(f"its inputs are {', '.join(inputs) or 'none'}")
        for name, (value, shape) in expected.items():
            if value is None:
                complaints.append(f"it has no {name}")
            elif value.type != "tensor(float)" or not _fits(value.shape, shape):
                complaints.append(f"its {name} is {value.type} {value.shape}")
            elif isinstance(value.shape[0], int):
                complaints.append(f"the batch of its {name} is fixed to {value.shape[0]}")
        if complaints:
            raise ModelError(
                f"{self.path} must map `composite` Nx3x{THUMBNAIL_SIZE}x{THUMBNAIL_SIZE} and "
                f"`mask` Nx1x{THUMBNAIL_SIZE}x{THUMBNAIL_SIZE} to `arguments` "
                f"Nx{len(self.filters)}, all float32, N dynamic; {'; '.join(complaints)}. {_REMEDY}"
            )


def _fits(shape: list[int | str | None], tail: tuple[int, ...]) -> bool:
    """Whether (N, *shape) can be (N, *tail); a symbolic size fits any."""
    return len(shape) == len(tail) + 1 and all(
        not isinstance(size, int) or size == expected
        for size, expected in zip(shape[1:], tail, strict=True)
    )


def import_onnxruntime() -> Any:
    """Import ONNX Runtime, with its telemetry off unless the environment says otherwise."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    return onnxruntime


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def _open_session(path: Path, threads: int | None) -> Any:
    if path.is_dir():
        raise ModelError(
            f"the model must be an ONNX file; {path} is a folder. Name the .onnx file in it."
        )
    if not path.is_file():
        raise ModelError(f"the model must be an ONNX file; {path} does not exist. Check the path.")
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # Waiting threads would spin on the cores that the renderer needs next.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if threads is not None:
        options.intra_op_num_threads = threads
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's error classes share no public base
        text = _one_line(error)
        if "external data" in text.lower() or "external_data" in text.lower():
            raise ModelError(
                f"{path} must hold its weights; they are in another file that is missing "
                f"({text}). Copy that file too, or export again: one file holds all."
            ) from error
        raise ModelError(
            f"{path} must be a complete ONNX model that ONNX Runtime {onnxruntime.__version__} "
            f"can run; it is not ({text}). {_REMEDY}"
        ) from error


def check_metadata(path: Path, metadata: dict[str, str]) -> tuple[str, ...]:
    """Check that the file is ours and of this version; return its filters."""
    kind = metadata.get("harmonizer.format")
    if kind == END_TO_END_FORMAT:
        raise ModelError(
            f"{path} must be a predictor, which gives arguments; it is an end-to-end graph, which "
            "draws them itself. Export one with --variant predictor."
        )
    if kind != FORMAT:
        raise ModelError(
            f'{path} must say harmonizer.format = "{FORMAT}" in its metadata; it says '
            f"{kind!r}: it was not written by this project. {_REMEDY}"
        )
    version = metadata.get("harmonizer.format_version")
    if version != FORMAT_VERSION:
        raise ModelError(
            f"{path} must have format version {FORMAT_VERSION}; it has {version!r}. Export it "
            "again with this version, or update harmonizer."
        )
    listed = metadata.get("harmonizer.filters", "")
    try:
        names = json.loads(listed)
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValueError("not a list of names")
        return check_filters(names)
    except (FilterListError, ValueError) as error:
        raise ModelError(
            f"{path} must list its filters in harmonizer.filters; it has {listed[:200]!r} "
            f"({error}). {_REMEDY}"
        ) from error
