"""Predict filter arguments with ONNX Runtime on the CPU.

A predictor returns arguments and never draws.
"""

import functools
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harmonizer.checks import check_threads
from harmonizer.contract import OUTPUT, REMEDY, THUMBNAIL_SIZE, read_contract
from harmonizer.errors import ModelError, shortened
from harmonizer.interruptible import DeadlineError, run_interruptibly
from harmonizer.onnx_files import OnnxFile, load_onnx

LONGEST_RUN_S = 120.0
"""Seconds that one prediction may take; an image takes milliseconds."""

MOST_MEMORY = 2 << 30
"""Bytes that ONNX Runtime may take for all models of the process together."""


def default_model() -> Path:
    """The model that ships inside the package.

    Raises:
        ModelError: If this installation has none.
    """
    path = Path(__file__).parent / "assets" / "harmonizer.onnx"
    if not path.is_file():
        raise ModelError(
            f"the package must contain its model, {path}; it is missing. Run `make model` in the "
            "source tree, or name a model file with `model`."
        )
    return path


class OnnxPredictor:
    """A predictor graph in ONNX Runtime; safe to call from several threads.

    Args:
        path: An ONNX file written by ``export/to_onnx.py --variant predictor``.
        threads: Threads of one prediction; None for ONNX Runtime's choice.

    Attributes:
        path: The file.
        contract: What it reads and answers with.
        filters: The operations whose arguments it predicts, in drawing order.
        metadata: Everything that the file says of itself.

    Raises:
        ModelError: If the file is missing or damaged, is not a harmonizer predictor, has another
            contract, operators that are not in `onnx_files.OPERATORS`, or weights that are not
            finite.
        TypeError, ValueError: If `threads` is not a whole number, or below 1.
    """

    def __init__(self, path: str | Path, threads: int | None = None) -> None:
        self.path = Path(path)
        threads = check_threads(threads)
        file = load_onnx(self.path)
        self.metadata = file.metadata
        self.contract = read_contract(self.path, self.metadata)
        self.filters = self.contract.filters
        _check_graph(file)
        self._sha256 = file.sha256
        self._session: Any = _open_session(file, threads)
        self._check_contract()

    def predict(self, *inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Predict the arguments of a batch of thumbnails.

        Args:
            *inputs: In the order of ``contract.inputs``, (N, ...) float32 each. Harmonizer reads
                the composite (N, 3, 256, 256), R, G, B in [0, 1], and the mask (N, 1, 256, 256),
                1 in the foreground; S2CRNet the foreground and the background, (N, 3, 256, 256)
                each, and, where it is labelled, the label one-hot (N, 5).

        Returns:
            (N, k) float32 in the order of `filters`; a new array.

        Raises:
            TypeError: If an input is not float32.
            ValueError: If a shape or the count of inputs is another, or the batch sizes differ.
            ModelError: If the network cannot be run, its answer is not finite, or the predictor
                is closed.
        """
        session = self._session
        if session is None:
            raise ModelError(f"the predictor {self.path} must be open; it was closed. Load it.")
        feed = self._feed(inputs)
        options = import_onnxruntime().RunOptions()
        try:
            answer: NDArray[np.float32] = run_interruptibly(
                lambda: session.run([OUTPUT], feed, options)[0],
                lambda: setattr(options, "terminate", True),
                LONGEST_RUN_S,
            )
        except DeadlineError as error:
            raise ModelError(
                f"{self.path} must answer within {LONGEST_RUN_S:g} s; it does not. Use a smaller "
                f"model or batch. {REMEDY}"
            ) from error
        except Exception as error:  # ONNX Runtime's error classes share no public base
            raise ModelError(
                f"{self.path} must run on thumbnails of {THUMBNAIL_SIZE}x{THUMBNAIL_SIZE}; ONNX "
                f"Runtime fails ({shortened(error)}). {REMEDY}"
            ) from error
        if answer.shape != (len(inputs[0]), self.contract.count):
            raise ModelError(
                f"{self.path} must answer with {self.contract.count} numbers an image "
                f"({', '.join(self.filters)}); it gave shape {answer.shape}. {REMEDY}"
            )
        if not np.isfinite(answer).all():
            raise ModelError(
                f"{self.path} must answer with finite numbers; it gave {answer.tolist()}. The "
                "model is damaged or overflows in its precision: use the FP32 export."
            )
        return answer

    def sha256(self) -> str:
        """The SHA-256 of the model file as it was loaded, in hexadecimal."""
        return self._sha256

    def read_again(self) -> bytes:
        """The bytes of the model, which are those that were checked when it was loaded.

        Raises:
            ModelError: If the file has changed since.
        """
        file = load_onnx(self.path)
        if file.sha256 != self._sha256:
            raise ModelError(
                f"{self.path} must not change while it is used; it did. Start again, once it is "
                "written."
            )
        return file.data

    def close(self) -> None:
        """Release the session; `predict` raises afterwards."""
        self._session = None

    def __enter__(self) -> "OnnxPredictor":
        return self

    def __exit__(self, *ended: object) -> None:
        self.close()

    def _feed(self, inputs: tuple[NDArray[np.float32], ...]) -> dict[str, NDArray[np.float32]]:
        shapes = self.contract.inputs
        if len(inputs) != len(shapes):
            raise ValueError(
                f"{self.path} reads {', '.join(shapes)}; got {len(inputs)} arrays. Pass one each."
            )
        feed = dict(zip(shapes, inputs, strict=True))
        for name, array in feed.items():
            if array.dtype != np.float32:
                raise TypeError(f"`{name}` must be float32 in [0, 1]; got {array.dtype}.")
            if array.ndim != len(shapes[name]) + 1 or array.shape[1:] != shapes[name]:
                raise ValueError(
                    f"`{name}` must have shape (N, {', '.join(map(str, shapes[name]))}) with N > "
                    f"0; got {array.shape}. `CpuRenderer` makes such arrays."
                )
            if len(array) != len(inputs[0]) or not len(array):
                raise ValueError(
                    f"`{name}` must have the first input's batch size, {len(inputs[0])}; got "
                    f"{len(array)}. It is at least 1."
                )
        return feed

    def _check_contract(self) -> None:
        inputs = {value.name: value for value in self._session.get_inputs()}
        outputs = {value.name: value for value in self._session.get_outputs()}
        shapes = self.contract.inputs
        expected: dict[str, tuple[Any, tuple[int, ...]]] = {
            name: (inputs.get(name), shape) for name, shape in shapes.items()
        }
        expected[OUTPUT] = (outputs.get(OUTPUT), (self.contract.count,))
        complaints = []
        if set(inputs) != set(shapes):
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
                f"{self.path} must map {self.contract}, all float32, N dynamic; "
                f"{'; '.join(complaints)}. {REMEDY}"
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


def _check_graph(file: OnnxFile) -> None:
    """Refuse what a predictor of this project never has.

    Raises:
        ModelError: If there is such.
    """
    if "its weights are in another file" in file.complaints:
        raise ModelError(
            f"{file.path} must hold its weights; they are in another file. Copy that file too and "
            "save both as one with onnx.save, or export again: one file holds all."
        )
    if file.complaints:
        raise ModelError(
            f"{file.path} must be made of known operators, without loops and graphs inside, and "
            f"have finite weights; {'; '.join(file.complaints)[:600]}. The model is damaged, or "
            f"overflowed in its precision (use the FP32 export), or is another kind. {REMEDY}"
        )


@functools.cache
def _share_memory() -> bool:
    """Give ONNX Runtime one pool of memory with an end; False where somebody has set up another."""
    onnxruntime = import_onnxruntime()
    kind = onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR
    place = onnxruntime.OrtMemoryInfo("Cpu", kind, 0, onnxruntime.OrtMemType.DEFAULT)
    try:
        pool = onnxruntime.OrtArenaCfg({"max_mem": MOST_MEMORY})
        onnxruntime.create_and_register_allocator(place, pool)
    except Exception:  # ONNX Runtime's error classes share no public base
        return False
    return True


def plain_session(model: str | bytes | Path, threads: int, **entries: str) -> Any:
    """ONNX Runtime on the CPU as it is, for graphs that are no predictor of this project.

    Args:
        model: A file, or its bytes.
        threads: Of a run.
        entries: Of the session's configuration, without `session.`.
    """
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    for name, value in entries.items():
        options.add_session_config_entry(f"session.{name}", value)
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _open_session(file: OnnxFile, threads: int | None) -> Any:
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what goes wrong is raised, and said once
    # Threads that wait spin within a run, whose many small steps sleeping would cost a quarter of
    # it, and not after, when the renderer needs the cores.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if _share_memory():
        options.add_session_config_entry("session.use_env_allocators", "1")
    if threads is not None:
        options.intra_op_num_threads = threads
    try:
        return onnxruntime.InferenceSession(
            file.data,
            options,
            providers=["CPUExecutionProvider"],
            # It works outside of the pool, and an export has nothing left to fold.
            disabled_optimizers=["ConstantFolding"],
        )
    except Exception as error:  # ONNX Runtime's error classes share no public base
        text = shortened(error)
        newer = any(word in text for word in _NEWER)
        raise ModelError(
            f"{file.path} must be a complete ONNX model that ONNX Runtime "
            f"{onnxruntime.__version__} can run; it is not ({text}). {_UPDATE if newer else REMEDY}"
        ) from error


_NEWER = ("Unsupported model IR version", "till opset", "is under development", "Opset version")
"""In what ONNX Runtime says of a model that is newer than itself."""

_UPDATE = (
    "The model is newer than this ONNX Runtime: update it (pip install --upgrade onnxruntime), or "
    "export the model again with the versions that are here."
)
