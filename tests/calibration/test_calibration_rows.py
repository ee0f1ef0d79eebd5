"""Inputs of fully connected layers: equalised, and scaled row by row."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from calibration_data import answers
from onnx import numpy_helper

from calibration.equalize import _held_out_error, equalize, inverse_name
from calibration.graph import PredictorGraph
from calibration.images import ImageSet
from calibration.ranges import calibrate
from calibration.rewrite import EXPONENTS, quantize_blocks
from calibration.rows import scale_rows


def rounded_error(graph: PredictorGraph, images: ImageSet, wanted: np.ndarray) -> float:
    ranges = calibrate(graph, images, "minmax")
    model = quantize_blocks(graph, graph.blocks, ranges)
    onnx.checker.check_model(model, full_check=True)
    return float(np.abs(answers(model, images) - wanted).mean())


def with_weight(graph: PredictorGraph, name: str, weight: np.ndarray) -> PredictorGraph:
    model = onnx.ModelProto()
    model.CopyFrom(graph.model)
    for tensor in model.graph.initializer:
        if tensor.name == name:
            tensor.CopyFrom(numpy_helper.from_array(weight, name))
    return replace(graph, model=model, weights={**graph.weights, name: weight})


def test_equalize_computes_the_same_and_makes_an_uneven_weight_bear_8_bits(
    statistics: PredictorGraph, images: ImageSet
) -> None:
    name = "statistics.hidden.weight"
    weight = statistics.weights[name]
    factors = np.logspace(-2, 2, weight.shape[1]).astype(np.float32)
    graph = with_weight(statistics, name, weight * factors)
    equal = equalize(graph, images.feeds)
    assert equal.blocks == graph.blocks and inverse_name(name) in equal.weights
    wanted = answers(graph.model, images)
    np.testing.assert_allclose(answers(equal.model, images), wanted, rtol=0, atol=1e-5)
    assert rounded_error(equal, images, wanted) < 0.7 * rounded_error(graph, images, wanted)


def test_equalize_leaves_a_weight_alone_where_rare_inputs_would_swamp_the_others(
    small_model: Path, images: ImageSet
) -> None:
    weight = np.random.default_rng(0).normal(size=(16, 32)).astype(np.float32)
    rows = np.random.default_rng(1).normal(size=(1, 64, 32)).astype(np.float32)
    even, rare = rows.copy(), rows.copy()
    even[..., :4] *= 30  # always large: to be divided
    rare[..., :4] *= 1e-3  # nearly 0, but for two images, one in each half
    rare[0, [10, 41], :4] *= 1e4
    errors = [[_held_out_error(weight, each, e) for e in EXPONENTS] for each in (even, rare)]
    assert np.argmin(errors[0]) > 0 and np.argmin(errors[1]) == 0


def test_scale_rows_computes_the_same_and_scales_the_chosen_blocks_alone(
    statistics: PredictorGraph, images: ImageSet
) -> None:
    chosen = [block for block in statistics.blocks if block.endswith("look2")]
    scaled = scale_rows(statistics, chosen)
    onnx.checker.check_model(scaled.model, full_check=True)
    assert scaled.blocks == statistics.blocks
    changed = [a != b for a, b in zip(scaled.layers, statistics.layers, strict=True)]
    assert changed == [layer.block in chosen for layer in statistics.layers]
    wanted = answers(statistics.model, images)
    np.testing.assert_allclose(answers(scaled.model, images), wanted, rtol=0, atol=1e-6)
    everything = scale_rows(statistics, statistics.blocks)
    ranges = calibrate(everything, images, "minmax")
    assert list(ranges.values()) == pytest.approx([1.0] * len(statistics.layers))
    assert scale_rows(statistics, []) is statistics


def test_scale_rows_an_image_far_from_the_calibration_images_is_not_clipped(
    statistics: PredictorGraph, images: ImageSet
) -> None:
    name = "statistics.normalize.weight"  # what the first layer reads is 50 times larger than seen
    usual, strange = images.split(2)
    far = with_weight(statistics, name, statistics.weights[name] * np.float32(50))
    wanted = answers(far.model, strange)
    errors = []
    for scaled in (False, True):
        pair = [scale_rows(g, g.blocks) if scaled else g for g in (statistics, far)]
        ranges = calibrate(pair[0], usual, "minmax")
        model = quantize_blocks(pair[1], pair[1].blocks, ranges)
        errors.append(float(np.abs(answers(model, strange) - wanted).mean()))
    assert errors[1] < 0.1 * errors[0]


def test_scale_rows_a_row_of_zeros_stays_finite(
    statistics: PredictorGraph, images: ImageSet
) -> None:
    name = "statistics.output.weight"  # then the regressor reads silu(bias) alone: 0 with bias 0
    silent = with_weight(statistics, name, np.zeros_like(statistics.weights[name]))
    bias = "statistics.output.bias"
    silent = with_weight(silent, bias, np.zeros_like(statistics.weights[bias]))
    scaled = scale_rows(silent, silent.blocks)
    np.testing.assert_allclose(
        answers(scaled.model, images), answers(silent.model, images), rtol=0, atol=1e-6
    )
