"""Export a checkpoint to one ONNX file, put in place only after its parity has been shown.

python export/to_onnx.py --checkpoint CKPT --output FILE.onnx [--model harmonizer|s2crnet]
    [--variant predictor|end-to-end] [--precision fp32|fp16]
"""

import sys
import warnings
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from export.metadata import Precision, Variant, describe
from export.regions import traced_thumbnails
from export.verify import ParityError, ParityReport, photographs, verify
from harmonizer.contract import LABELS
from harmonizer.endings import ending_well
from harmonizer.storage import Temporary, resolved
from harmonizer.usage import says_errors, tool_parser
from train.checkpoints import CheckpointError, load_checkpoint
from train.filters import apply_filters, blend
from train.network import THUMBNAIL, HarmonizerNet
from train.registry import MODELS, Network, contract_of

OPSET = 20


class EndToEnd(nn.Module):
    """Composite and mask of any size to the harmonized image, with the filters in the graph.

    The thumbnails, the prediction, the filters and the blend, in standard operators.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, composite: Tensor, mask: Tensor, label: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """(N, 3, H, W), (N, 1, H, W) and (N, 5) to harmonized image and arguments (N, k)."""
        if isinstance(self.network, HarmonizerNet):
            arguments = self.network(_resized(composite), _resized(mask))
        else:
            arguments = self.network(*traced_thumbnails(composite, mask), label)
        stages = apply_filters(composite, arguments, self.network.config.filters)
        return blend(stages[-1], composite, mask), arguments


def _resized(image: Tensor) -> Tensor:
    """As `thumbnail`, but always in the graph: the traced size says nothing about later ones."""
    return torch.nn.functional.interpolate(
        image, (THUMBNAIL, THUMBNAIL), mode="bilinear", align_corners=False
    )


def build_graph(network: Network, variant: Variant, precision: Precision) -> onnx.ModelProto:
    """Trace the network into an ONNX graph.

    Args:
        network: In eval mode, float32; changed in place: it is folded (Harmonizer's cascade into
            one layer), and for fp16 halved (its `halve` says what stays float32 and why).
        variant: "predictor" takes 256x256 thumbnails, "end-to-end" images of any size.
        precision: Of encoder and MLP; statistics, regressor and filters are always float32.

    Returns:
        The graph, with dynamic batch (and height and width for "end-to-end"), weights inside.
    """
    network.fold()
    if precision == "fp16":
        network.halve()
    batch = torch.export.Dim("batch", min=1, max=4096)
    contract = contract_of(network.config)
    dynamic: dict[str, dict[int, torch.export.Dim]]
    if variant == "predictor":
        module: nn.Module = network
        shapes = contract.inputs
        dynamic = {name: {0: batch} for name in shapes}
        outputs = ["arguments"]
    else:
        module = EndToEnd(network)
        shapes = {"composite": (3, 317, 413), "mask": (1, 317, 413)}
        height = torch.export.Dim("height", min=1, max=1 << 16)
        width = torch.export.Dim("width", min=1, max=1 << 16)
        dynamic = {name: {0: batch, 2: height, 3: width} for name in shapes}
        outputs = ["harmonized", "arguments"]
        if contract.labelled:
            shapes["label"] = (len(LABELS),)
            dynamic["label"] = {0: batch}
    example = tuple(torch.rand(2, *shape) for shape in shapes.values())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own deprecations, not the user's concern
        program = torch.onnx.export(
            module.eval(),
            example,
            input_names=list(shapes),
            output_names=outputs,
            dynamic_shapes=dynamic,
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    if program is None:
        raise RuntimeError("torch.onnx.export returned no program")
    model = program.model_proto
    _forget_the_tracing(model.graph)
    return model


def _forget_the_tracing(graph: onnx.GraphProto) -> None:
    """Drop the exporter's stack traces from every node: they hold paths of its machine."""
    for item in (graph, *graph.node, *graph.value_info, *graph.initializer, *graph.output):
        del item.metadata_props[:]
    for node in graph.node:
        node.doc_string = ""


def export(
    checkpoint: Path,
    output: Path,
    variant: Variant = "predictor",
    precision: Precision = "fp32",
    images: Path | None = None,
    model: str | None = None,
) -> ParityReport:
    """Export, check and put in place.

    Args:
        checkpoint: Own ``.safetensors`` or the published ``.pth``.
        output: The ``.onnx`` file; written under a temporary name beside it and renamed when the
            parity with torch is shown.
        variant: Which graph.
        precision: Of encoder and MLP; statistics, regressor and filters are always float32.
        images: Folder of photographs for the parity check; scikit-image's by default.
        model: What the checkpoint must be of; by default it may be of any.

    Returns:
        The measured differences.

    Raises:
        ParityError: If the graph differs by more than `export.tolerances` allows; no file is left.
        CheckpointError: If the checkpoint does not load, or is another model's.
        ValueError: If `images` is no folder of photographs.
        onnx.checker.ValidationError: If the graph is not valid ONNX.
    """
    if images is not None:
        photographs(images)
    network = load_checkpoint(checkpoint)
    if model is not None and network.config.model != model:
        raise CheckpointError(
            f"{checkpoint} must be a checkpoint of {model}; it is one of {network.config.model}. "
            f"Give --model {network.config.model}, or another checkpoint."
        )
    graph = build_graph(load_checkpoint(checkpoint), variant, precision)
    describe(graph, network.config, checkpoint, variant, precision)
    output.parent.mkdir(parents=True, exist_ok=True)
    # A folder of its own: weights beyond 2 GB would lie beside the graph.
    with Temporary(resolved(output), ".export", folder=True) as hidden:
        unfinished = hidden.path / output.name
        onnx.save(graph, unfinished)
        onnx.checker.check_model(unfinished, full_check=True)
        report = verify(unfinished, network, variant, precision, images)
        unfinished.replace(output)
    return report


@says_errors("to_onnx")
def main() -> int:
    """The command line; 0 on success, 1 if parity fails, 2 for bad input."""
    parser = tool_parser(__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True, help="FILE.onnx")
    parser.add_argument("--model", choices=MODELS, help="refuse checkpoints of another one")
    parser.add_argument("--variant", choices=["predictor", "end-to-end"], default="predictor")
    parser.add_argument("--precision", choices=["fp32", "fp16"], default="fp32")
    parser.add_argument("--images", type=Path, help="photographs for the parity check")
    args = parser.parse_args()
    if args.output.suffix != ".onnx":
        parser.error(f"--output must end in .onnx; got {args.output.name}. Rename it.")
    if args.output.is_dir():
        parser.error(f"--output must be a file; {args.output} is a folder. Name a file in it.")
    try:
        report = export(
            args.checkpoint, args.output, args.variant, args.precision, args.images, args.model
        )
    except ParityError as error:
        print(f"to_onnx: parity failed, no file written: {error}", file=sys.stderr)
        return 1
    print(f"{args.output} ({args.output.stat().st_size / 1e6:.1f} MB): {report}")
    return 0


if __name__ == "__main__":
    sys.exit(ending_well(main))
