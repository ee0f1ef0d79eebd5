"""What the gate compares: anything that predicts arguments, opened as one kind of object."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from calibration.inputs import model_inputs
from harmonizer.contract import Contract
from harmonizer.errors import DeviceError, ModelError
from harmonizer.predictor import OnnxPredictor
from train.checkpoints import load_checkpoint
from train.registry import contract_of

Array = NDArray[np.float32]

CHECKPOINTS = (".safetensors", ".pth")
ENGINES = (".engine", ".plan")


@dataclass(frozen=True)
class Model:
    """An opened predictor.

    Attributes:
        path: The file.
        kind: "torch", "onnxruntime" or "tensorrt".
        precision: What the file says of itself: fp32, fp16 or int8.
        contract: What it reads and answers with.
        sha256: Of the file.
        predict: Composite (1, 3, 256, 256) and mask (1, 1, 256, 256), float32 in [0, 1], to (k,)
            float32; what the network reads is made of them, with the default label.
        close: Releases what it holds.
        onnx_sha256: Of the ONNX file that an engine was built from, if its description says so.
    """

    path: Path
    kind: str
    precision: str
    contract: Contract
    sha256: str
    predict: Callable[[Array, Array], Array]
    close: Callable[[], None]
    onnx_sha256: str | None = None

    def facts(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {
            "file": self.path.name,
            "kind": self.kind,
            "precision": self.precision,
            "sha256": self.sha256,
        }


def open_model(path: str | Path) -> Model:
    """Open a file by its suffix: a checkpoint, an ONNX predictor, or a TensorRT engine.

    Args:
        path: ``.safetensors`` or ``.pth``; ``.onnx`` of any precision; ``.engine`` or ``.plan``.

    Raises:
        ModelError: If it is none of these, or not one of ours.
        DeviceError: If it is an engine and there is no GPU, driver or TensorRT to run it.
        FileNotFoundError: If there is no such checkpoint.
    """
    path = Path(path)
    if path.suffix in CHECKPOINTS:
        return _torch(path)
    if path.suffix == ".onnx":
        return _onnx(path)
    if path.suffix in ENGINES:
        return _engine(path)
    raise ModelError(
        f"a model to compare must end in {', '.join((*CHECKPOINTS, '.onnx', *ENGINES))}; got "
        f"{path.name}. Rename it, or export it."
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _torch(path: Path) -> Model:
    network = load_checkpoint(path)

    def predict(composite: Array, mask: Array) -> Array:
        answer = network.predict_arguments(torch.from_numpy(composite), torch.from_numpy(mask))
        return _checked(path, answer.numpy()[0])

    contract = contract_of(network.config)
    return Model(path, "torch", "fp32", contract, _sha256(path), predict, lambda: None)


def _onnx(path: Path) -> Model:
    predictor = OnnxPredictor(path, threads=1)
    contract = predictor.contract

    def predict(composite: Array, mask: Array) -> Array:
        answer: Array = predictor.predict(*model_inputs(contract, composite, mask).values())[0]
        return answer

    precision = predictor.metadata.get("harmonizer.precision", "fp32")
    return Model(path, "onnxruntime", precision, contract, _sha256(path), predict, predictor.close)


def _engine(path: Path) -> Model:
    from harmonizer.engine import EnginePredictor

    if not torch.cuda.is_available():
        raise DeviceError(
            f"{path} is a TensorRT engine, which runs on an NVIDIA GPU; there is none that torch "
            "can use here. Compare on the machine that runs it, or compare the ONNX file that it "
            "was built from."
        )
    device = torch.device("cuda")
    torch.zeros(1, device=device)  # makes torch's context current, in which the engine is to live
    predictor = EnginePredictor(path)
    contract = predictor.contract
    half = "16" in str(predictor.thumbnail_type)
    kind = torch.float16 if half else torch.float32
    answer = torch.empty(1, contract.count, device=device)
    stream = torch.cuda.Stream()

    def predict(composite: Array, mask: Array) -> Array:
        arrays = model_inputs(contract, composite, mask).values()
        inputs = [torch.from_numpy(array).to(device, kind).contiguous() for array in arrays]
        torch.cuda.synchronize()  # the copies are on torch's own stream
        addresses = [tensor.data_ptr() for tensor in inputs]
        predictor.enqueue(1, addresses, answer.data_ptr(), stream.cuda_stream)
        stream.synchronize()
        return _checked(path, answer.cpu().numpy()[0])

    precision = predictor.metadata.get("harmonizer.precision", "fp32")
    source = predictor.description["onnx_sha256"]
    return Model(
        path, "tensorrt", precision, contract, _sha256(path), predict, predictor.close, source
    )


def _checked(path: Path, answer: Array) -> Array:
    if not np.isfinite(answer).all():
        raise ModelError(
            f"{path} must predict finite arguments; it gave {json.dumps(answer.tolist())}. It is "
            "damaged, or overflows in its precision."
        )
    return answer
