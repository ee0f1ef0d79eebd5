"""Is anything faster than float32 on the CPU? Paired timings, and what each costs in accuracy.

python -m bench.precision MODEL.onnx --images DIR [--json FILE] [--threads N]
    [--seconds S] [--clock wall|cpu] [--save DIR]

Variants: ONNX Runtime float32 (what ships), static u8s8 and dynamic INT8 by its own tools, and
OpenVINO in float32 and bfloat16 where it is installed (`pip install openvino`; no dependency of
this project). ONNX Runtime has no bfloat16 kernels for x86. In every round each variant predicts
once, in another order each time, so that whatever else the machine does meets all of them alike;
ratios are of one round's times.
"""

import importlib
import importlib.util
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from tqdm import tqdm

from calibration.graph import PredictorGraph, copied, load_graph
from calibration.images import ImageSet, load_images
from calibration.inputs import Feed
from calibration.outputs import prepare_outputs
from calibration.pictures import compare, draw
from export.tolerances import CALIBRATION_IMAGES
from harmonizer.predictor import OnnxPredictor, import_onnxruntime
from harmonizer.renderer import CpuRenderer
from harmonizer.storage import write_atomically
from harmonizer.usage import says_errors, tool_parser
from train.evaluation.report import markdown

Predict = Callable[[Feed], NDArray[np.float32]]

BASE = "ONNX Runtime float32"
WARM_UP = 5
KEPT = ("static.onnx", "dynamic.onnx", "unshared.onnx")
"""Files of `--save`."""

CLEARLY = 0.8
"""Largest median ratio to float32 that counts as a clear win: less is not worth another file."""


@dataclass
class Variant:
    """One way to predict on the CPU.

    Attributes:
        name: For the table.
        predict: A feed to (k,).
        times_ms: Of the rounds.
    """

    name: str
    predict: Predict
    times_ms: list[float] = field(default_factory=list)


def build_variants(
    graph: PredictorGraph, images: ImageSet, folder: Path, threads: int
) -> list[Variant]:
    """Open every variant that this machine has; the float32 one comes first.

    Args:
        graph: The float32 predictor.
        images: What static ranges are measured on.
        folder: For the quantised files.
        threads: Of one prediction.
    """
    variants = [_onnx(BASE, graph.path, threads)]
    static, dynamic, source = (folder / name for name in KEPT)
    onnx.save(_unshared(graph), source)
    _quantize_static(graph, source, images, static)
    _quantize_dynamic(graph, source, dynamic)
    variants.append(_onnx("ONNX Runtime u8s8 static", static, threads))
    variants.append(_onnx("ONNX Runtime dynamic INT8", dynamic, threads))
    if importlib.util.find_spec("openvino") is not None:
        variants.append(_openvino("OpenVINO float32", graph.path, threads, "f32"))
        variants.append(_openvino("OpenVINO bfloat16", graph.path, threads, "bf16"))
    return variants


def _onnx(name: str, path: Path, threads: int) -> Variant:
    predictor = OnnxPredictor(path, threads)
    names = predictor.contract.inputs
    return Variant(name, lambda feed: predictor.predict(*(feed[name] for name in names))[0])


def _openvino(name: str, path: Path, threads: int, precision: str) -> Variant:
    openvino: Any = importlib.import_module("openvino")  # no dependency: type checkers lack it
    compiled = openvino.Core().compile_model(
        path,
        "CPU",
        {
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": precision,
            "PERFORMANCE_HINT": "LATENCY",
        },
    )
    request = compiled.create_infer_request()

    def predict(feed: Feed) -> NDArray[np.float32]:
        answer: NDArray[np.float32] = request.infer(feed)["arguments"][0].copy()
        return answer

    return Variant(name, predict)


def _weighted(graph: PredictorGraph) -> list[str]:
    outputs = {layer.node for layer in graph.layers}
    return [node.name for node in graph.model.graph.node if node.output[0] in outputs]


def _unshared(graph: PredictorGraph) -> onnx.ModelProto:
    """The model with a copy of its weight for every layer.

    ONNX Runtime's tools turn each Gemm into a MatMul by transposing its weight in place: a weight
    of three looks would be transposed three times. Shapes noted in the file would contradict that.
    """
    model = copied(graph.model)
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    weighted, seen = {layer.node for layer in graph.layers}, set()
    for node in model.graph.node:
        if node.output[0] in weighted:
            if node.input[1] in seen:
                copy = model.graph.initializer.add()
                copy.CopyFrom(tensors[node.input[1]])
                copy.name = f"{node.input[1]}.{node.output[0]}"
                node.input[1] = copy.name
            seen.add(node.input[1])
    return model


def _quantize_static(graph: PredictorGraph, source: Path, images: ImageSet, output: Path) -> None:
    import_onnxruntime()
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # the base is untyped
        def __init__(self) -> None:
            self._feeds = iter(images.feeds)

        def get_next(self) -> Feed | None:
            return next(self._feeds, None)

    quantize_static(
        source,
        output,
        Reader(),
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        per_channel=True,
        nodes_to_quantize=_weighted(graph),
    )
    _copy_metadata(graph, output)


def _quantize_dynamic(graph: PredictorGraph, source: Path, output: Path) -> None:
    import_onnxruntime()
    from onnxruntime.quantization import QuantType, quantize_dynamic

    # Convolutions stay: ONNX Runtime's dynamic integer convolution is a reference kernel. Products
    # of two activations stay too (they have no constant B).
    quantize_dynamic(
        source,
        output,
        op_types_to_quantize=["Gemm", "MatMul"],
        weight_type=QuantType.QInt8,
        per_channel=True,
        extra_options={"MatMulConstBOnly": True},
    )
    _copy_metadata(graph, output)


def _copy_metadata(graph: PredictorGraph, path: Path) -> None:
    model = onnx.load(path)
    onnx.helper.set_model_props(model, {**graph.metadata, "harmonizer.precision": "int8"})
    onnx.save(model, path)


CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.process_time}
"""What is timed: what a user waits for, or processor time, which on a busy machine with one thread
says what waiting would be on a free one."""


def measure_times(
    variants: Sequence[Variant], feeds: Sequence[Feed], seconds: float, clock: str = "wall"
) -> None:
    """Fill in `times_ms`, round by round, for at least `seconds` and twenty rounds."""
    now = CLOCKS[clock]
    for variant in variants:
        for _ in range(WARM_UP):
            variant.predict(feeds[0])
    random = np.random.default_rng(0)
    ends, rounds = time.perf_counter() + seconds, 0
    with tqdm(desc="timing", disable=None, unit="round") as progress:
        while rounds < 20 or time.perf_counter() < ends:
            feed = feeds[rounds % len(feeds)]
            for index in random.permutation(len(variants)):
                began = now()
                variants[index].predict(feed)
                variants[index].times_ms.append(1e3 * (now() - began))
            rounds += 1
            progress.update()


def measure_errors(variants: Sequence[Variant], images: ImageSet) -> list[dict[str, float]]:
    """What each variant loses against the first: arguments, levels and delta-E over the images."""
    renderer = CpuRenderer(1)
    totals: list[dict[str, list[float]]] = [{} for _ in variants]
    pairs = list(zip(images.feeds, images.scenes, strict=True))
    for feed, scene in tqdm(pairs, "comparing", disable=None, unit="image"):
        answers = [variant.predict(feed) for variant in variants]
        composite, mask = scene["composite"], scene["mask"]
        drawn = [draw(renderer, images.contract, composite, mask, a) for a in answers]
        for total, answer, picture in zip(totals, answers, drawn, strict=True):
            difference = compare(drawn[0], picture, mask)
            for name, value in (
                ("arguments_max", float(np.abs(answer - answers[0]).max())),
                ("levels_max", float(difference.levels_max)),
                ("delta_e_mean", difference.delta_e_mean),
                ("delta_e_max", difference.delta_e_max),
            ):
                total.setdefault(name, []).append(value)
    return [
        {
            name: float(np.mean(values) if name == "delta_e_mean" else np.max(values))
            for name, values in total.items()
        }
        for total in totals
    ]


def summarise(
    variants: Sequence[Variant], errors: Sequence[dict[str, float]]
) -> list[dict[str, Any]]:
    """A row for each variant: median and quartiles of times and of ratios to the first one."""
    base = np.asarray(variants[0].times_ms)
    rows = []
    for variant, error in zip(variants, errors, strict=True):
        times = np.asarray(variant.times_ms)
        ratios = np.percentile(times / base, [25, 50, 75])
        rows.append(
            {
                "variant": variant.name,
                "rounds": len(times),
                "median_ms": float(np.median(times)),
                "quartiles_ms": [float(v) for v in np.percentile(times, [25, 75])],
                "ratio": float(ratios[1]),
                "ratio_quartiles": [float(ratios[0]), float(ratios[2])],
                "clearly_faster": bool(ratios[2] <= CLEARLY),
                **error,
            }
        )
    return rows


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as Markdown."""
    header = ["variant", "median ms", "time / float32 (quartiles)", "delta-E mean", "levels max"]
    body = [
        [
            row["variant"],
            f"{row['median_ms']:.2f}",
            f"{row['ratio']:.2f} ({row['ratio_quartiles'][0]:.2f} to "
            f"{row['ratio_quartiles'][1]:.2f})",
            f"{row['delta_e_mean']:.3f}",
            f"{row['levels_max']:.0f}",
        ]
        for row in rows
    ]
    return markdown(header, body)


@says_errors("precision")
def main(words: Sequence[str] | None = None) -> int:
    """The command line; 0 on success, 2 for bad input."""
    parser = tool_parser(__doc__, "python -m bench.precision")
    parser.add_argument("model", type=Path, metavar="MODEL.onnx", help="float32 predictor")
    parser.add_argument("--images", type=Path, required=True, metavar="DIR")
    parser.add_argument("--count", type=int, default=CALIBRATION_IMAGES)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seconds", type=float, default=20.0, help="of timing (%(default)s)")
    parser.add_argument(
        "--clock", choices=list(CLOCKS), default="wall", help="wall, or cpu if busy"
    )
    parser.add_argument("--save", type=Path, metavar="DIR", help="keep the files, for the gate")
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args(words)
    if args.count < CALIBRATION_IMAGES:
        parser.error(f"--count must be at least {CALIBRATION_IMAGES}; got {args.count}.")
    kept = {f"{name} of --save": args.save and args.save / name for name in KEPT}
    prepare_outputs({"--json": args.json, **kept}, [args.model])
    graph = load_graph(args.model)
    images = load_images(args.images, args.count, graph.contract)
    with tempfile.TemporaryDirectory() as folder:
        variants = build_variants(graph, images, args.save or Path(folder), args.threads)
        measure_times(variants, images.feeds, args.seconds, args.clock)
        rows = summarise(variants, measure_errors(variants, images))
    if args.json:
        packages = ["numpy", "onnxruntime"]
        packages += ["openvino"] if importlib.util.find_spec("openvino") else []
        document = {
            "format": "harmonizer-cpu-precision",
            "format_version": 1,
            "model_sha256": graph.sha256,
            "threads": args.threads,
            "clock": args.clock,
            "machine": platform.machine(),
            "versions": {name: version(name) for name in packages},
            "rows": rows,
        }
        write_atomically(args.json, (json.dumps(document, indent=1) + "\n").encode())
    print(table(rows))
    faster = [row["variant"] for row in rows if row["clearly_faster"]]
    print(
        f"\nclearly faster than float32 (upper quartile below {CLEARLY:g}): "
        f"{', '.join(faster) or 'none'}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
