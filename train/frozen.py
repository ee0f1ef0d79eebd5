"""An encoder's first stages, which training does not change, computed by ONNX Runtime."""

import importlib.util
import warnings
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from harmonizer.errors import HarmonizerError
from harmonizer.predictor import plain_session

if TYPE_CHECKING:
    from train.efficientnet import DepthEncoder


class FrozenError(HarmonizerError, RuntimeError):
    """ONNX Runtime cannot compute the frozen stages here."""


class _Stages(nn.Module):
    """Stem and stages before the first that is tuned; features at the depths, then the last."""

    def __init__(self, encoder: "DepthEncoder") -> None:
        super().__init__()
        self.encoder, self.count = [encoder], encoder.tuned_from  # a list: no parameters of this

    def forward(self, composite: Tensor) -> tuple[Tensor, ...]:
        encoder = self.encoder[0]
        x = encoder.bn1(encoder.conv_stem(2 * composite - 1))
        features = []
        for stage, blocks in enumerate(encoder.blocks[: self.count]):
            x = blocks(x)
            if stage in encoder.depths:
                features.append(x)
        return (*features, x)


class FrozenStages:
    """Called with composites on the CPU, gives what the stages give; one session for each shape.

    The weights are read at the first call, so that a checkpoint may be loaded before it.

    Args:
        encoder: Whose `tuned_from` says which stages are frozen.

    Raises:
        FrozenError: If the exporter is not installed.
    """

    def __init__(self, encoder: "DepthEncoder") -> None:
        if importlib.util.find_spec("onnxscript") is None:
            raise FrozenError(
                "frozen onnxruntime exports the encoder's first stages, which needs onnxscript; it "
                "is not installed. Install harmonizer[export], or give --frozen torch."
            )
        self.encoder = encoder
        self.sessions: dict[tuple[int, ...], Any] = {}

    def __call__(self, composite: Tensor) -> list[Tensor]:
        """(N, 3, S, S) in [0, 1], float32, to the frozen depths' features and the last stage's.

        Raises:
            FrozenError: If the composites lie on another device than the CPU.
        """
        if composite.device.type != "cpu":
            raise FrozenError(
                f"frozen onnxruntime is for the CPU; the composites are on {composite.device}. "
                "Give --frozen torch."
            )
        shape = tuple(composite.shape)
        if shape not in self.sessions:
            self.sessions[shape] = self._build(composite)
        given = {"composite": composite.detach().float().contiguous().numpy()}
        return [torch.from_numpy(array) for array in self.sessions[shape].run(None, given)]

    def _build(self, composite: Tensor) -> Any:
        off = torch.autocast("cpu", enabled=False)
        with warnings.catch_warnings(), torch.no_grad(), off:
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                _Stages(self.encoder).eval(),
                (torch.zeros(composite.shape),),
                input_names=["composite"],
                dynamo=True,
                verbose=False,
            )
        if program is None:
            raise FrozenError("torch.onnx.export returned no program. Give --frozen torch.")
        return plain_session(program.model_proto.SerializeToString(), torch.get_num_threads())
