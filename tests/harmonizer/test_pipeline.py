"""Predictor contract and the Harmonizer class, on a tiny but real ONNX model."""

import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import skimage.data
from tiny_predictor import weights, write_failing_predictor, write_predictor

from harmonizer import Arguments, Harmonizer, HarmonizerWarning
from harmonizer.errors import ArgumentsError, ModelError
from harmonizer.ops import DEFAULT_FILTERS
from harmonizer.predictor import OnnxPredictor


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_predictor(tmp_path_factory.mktemp("model") / "tiny.onnx")


@pytest.fixture(scope="module")
def harmonizer(model: Path) -> Harmonizer:
    return Harmonizer(model, threads=1)


@pytest.fixture
def image() -> np.ndarray:
    return np.ascontiguousarray(skimage.data.chelsea()[:200, :301])


@pytest.fixture
def mask(image: np.ndarray) -> np.ndarray:
    """A soft disc in the right half, uint8."""
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    distance = np.hypot(y - 100, x - 220)
    return np.clip(255 * (70 - distance) / 10, 0, 255).astype(np.uint8)


def as_type(image: np.ndarray, kind: type) -> np.ndarray:
    if kind is np.uint16:
        return image.astype(np.uint16) * 257
    return (image / 255).astype(np.float32) if kind is np.float32 else image


def test_predict_is_the_models_linear_map_of_the_thumbnail(
    harmonizer: Harmonizer, image: np.ndarray, mask: np.ndarray
) -> None:
    composite, small = harmonizer.renderer.thumbnail(image, mask)
    matrix, bias = weights(6)
    means = np.concatenate([composite.mean((2, 3)), small.mean((2, 3))], axis=1)
    arguments = harmonizer.predict(image, mask)
    assert arguments.filters == harmonizer.filters == DEFAULT_FILTERS
    np.testing.assert_allclose(arguments.array(), (means @ matrix + bias)[0], atol=1e-5)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
def test_call_is_predict_then_render_and_keeps_the_background(
    harmonizer: Harmonizer, image: np.ndarray, mask: np.ndarray, kind: type
) -> None:
    image = as_type(image, kind)
    before = image.copy()
    result = harmonizer(image, mask)
    np.testing.assert_array_equal(image, before)
    assert result.dtype == image.dtype and result.shape == image.shape
    again = harmonizer.render(image, mask, harmonizer.predict(image, mask))
    np.testing.assert_array_equal(result, again)
    np.testing.assert_array_equal(result[mask == 0], image[mask == 0])
    assert np.any(result[mask == 255] != image[mask == 255])


@pytest.mark.parametrize("kind", [np.bool_, np.uint8, np.uint16, np.float32])
def test_call_every_mask_type_agrees(
    harmonizer: Harmonizer, image: np.ndarray, mask: np.ndarray, kind: type
) -> None:
    hard = mask > 127
    expected = harmonizer(image, hard)
    other = hard.astype(kind) * (kind(1) if kind in (np.bool_, np.float32) else np.iinfo(kind).max)
    np.testing.assert_array_equal(harmonizer(image, other.astype(kind)), expected)


def test_strength_zero_returns_the_composite(
    harmonizer: Harmonizer, image: np.ndarray, mask: np.ndarray
) -> None:
    np.testing.assert_array_equal(harmonizer(image, mask, strength=0), image)
    stronger = harmonizer(image, mask, strength=1.5).astype(int) - image
    plain = harmonizer(image, mask).astype(int) - image
    assert np.abs(stronger).mean() > np.abs(plain).mean()
    with pytest.raises(ArgumentsError, match=r"strength must lie in \[0, 1.5\]; got 1.6"):
        harmonizer(image, mask, strength=1.6)


def test_render_takes_a_mapping_and_draws_in_place(
    harmonizer: Harmonizer, image: np.ndarray, mask: np.ndarray
) -> None:
    arguments = harmonizer.predict(image, mask)
    expected = harmonizer.render(image, mask, arguments)
    mapping = dict(reversed(list(arguments.clamped().items())))
    np.testing.assert_array_equal(harmonizer.render(image, mask, mapping), expected)
    plan = harmonizer.measure(image, arguments)
    np.testing.assert_array_equal(harmonizer.renderer.draw(image, mask, plan), expected)
    assert harmonizer.render(image, mask, arguments, out=image) is image
    np.testing.assert_array_equal(image, expected)
    with pytest.raises(ArgumentsError, match="missing shadow"):
        harmonizer.render(image, mask, {n: 0.0 for n in DEFAULT_FILTERS if n != "shadow"})


def test_empty_mask_returns_the_input_and_says_so(
    harmonizer: Harmonizer, image: np.ndarray
) -> None:
    empty = np.zeros(image.shape[:2], np.uint8)
    with pytest.warns(HarmonizerWarning, match=r"mask is empty.*stays as it is"):
        result = harmonizer(image, empty)
    assert result is not image
    np.testing.assert_array_equal(result, image)
    with pytest.warns(HarmonizerWarning, match="mask is empty"):
        assert harmonizer.predict(image, empty) == Arguments.identity()


@pytest.mark.parametrize(
    "value",
    [True, np.uint8(255), np.uint16(65535), np.float32(1)],
    ids=lambda v: v.dtype.name if isinstance(v, np.generic) else "bool",
)
def test_full_mask_works_and_warns(harmonizer: Harmonizer, image: np.ndarray, value: Any) -> None:
    with pytest.warns(HarmonizerWarning, match=r"covers the whole image.*a guess"):
        result = harmonizer(image, np.full(image.shape[:2], value))
    assert np.any(result != image)


def test_foreground_too_small_for_the_thumbnail_warns(harmonizer: Harmonizer) -> None:
    image = np.full((1024, 1024, 3), 90, np.uint8)
    mask = np.zeros((1024, 1024), np.uint8)
    mask[0, 0] = 255
    with pytest.warns(HarmonizerWarning, match=r"vanishes in the network's thumbnail.*Crop"):
        np.testing.assert_array_equal(harmonizer(image, mask), image)


@pytest.mark.parametrize("shape", [(1, 1), (1, 37), (37, 1), (2, 3)])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
def test_thin_images_work(harmonizer: Harmonizer, shape: tuple[int, int], kind: type) -> None:
    image = as_type(np.full((*shape, 3), 77, np.uint8), kind)
    mask = np.zeros(shape, np.uint8)
    mask.flat[0] = 200
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", HarmonizerWarning)
        result = harmonizer(image, mask)
    assert result.shape == image.shape
    np.testing.assert_array_equal(result[mask == 0], image[mask == 0])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda i, m: (i, m[:-1]), ValueError, r"height and width; got 199x301 for a 200x301"),
        (lambda i, m: (i[..., 0], m), ValueError, r"shape \(H, W, 3\)"),
        (lambda i, m: (i, m[..., None]), ValueError, r"shape \(H, W\)"),
        (lambda i, m: (i.astype(np.float64), m), TypeError, "float64"),
        (lambda i, m: (i.astype(np.float32), m), ValueError, r"\[0, 1\]"),
        (lambda i, m: (np.full(i.shape, np.nan, np.float32), m), ValueError, "nan"),
        (lambda i, m: (i, np.full(m.shape, np.nan, np.float32)), ValueError, "nan"),
        (lambda i, m: (i, np.full(m.shape, 1.5, np.float32)), ValueError, r"1\.5"),
        (lambda i, m: (i.tolist(), m), TypeError, "numpy array"),
        (lambda i, m: (i[:0], m[:0]), ValueError, "pixel"),
        (lambda i, m: (np.ma.masked_array(i), m), TypeError, r"`image` .*masked.*filled"),
        (lambda i, m: (i, np.ma.masked_array(m)), TypeError, r"`mask` .*masked.*filled"),
        (lambda i, m: (i, None), TypeError, r"`mask` .*got None. Pass one that is 1 in the fore"),
        (lambda i, m: (i, m, "1"), TypeError, r"`strength` must be a number.*'1'"),
    ],
)
def test_bad_arrays_are_refused(
    harmonizer: Harmonizer,
    image: np.ndarray,
    mask: np.ndarray,
    change: Any,
    error: type[Exception],
    message: str,
) -> None:
    with pytest.raises(error, match=message):
        harmonizer(*change(image, mask))


@pytest.mark.parametrize("arguments", [None, [0.0] * 6, np.zeros(6), {0: 0.0}, 0.5])
def test_render_other_arguments_are_refused(
    harmonizer: Harmonizer, image: np.ndarray, mask: np.ndarray, arguments: Any
) -> None:
    with pytest.raises(TypeError, match=r"Arguments or a mapping from filter name to number"):
        harmonizer.render(image, mask, arguments)
    with pytest.raises(TypeError, match=r"`arguments` must be an Arguments; got"):
        harmonizer.renderer.measure(image, arguments)


def test_render_without_mask_draws_the_whole_image(
    harmonizer: Harmonizer, image: np.ndarray
) -> None:
    drawn = Arguments(("shadow",), (0.5,))
    whole = harmonizer.render(image, np.ones(image.shape[:2], bool), drawn)
    np.testing.assert_array_equal(harmonizer.render(image, None, drawn), whole)


@pytest.mark.parametrize("strides", [(0, 3, 1), (903, 0, 1), (903, 3, 0), (3, 3, 1), (903, 2, 1)])
def test_render_out_that_overlaps_itself_is_refused(
    harmonizer: Harmonizer, image: np.ndarray, mask: np.ndarray, strides: tuple[int, ...]
) -> None:
    out = np.lib.stride_tricks.as_strided(np.empty_like(image), image.shape, strides)
    with pytest.raises(ValueError, match=r"`out` .*its elements overlap.*np.empty_like"):
        harmonizer.render(image, mask, Arguments.identity(), out)
    other = np.empty((*image.shape[1::-1], 8), np.uint8).swapaxes(0, 1)[::-1, ::-1, 6:0:-2]
    harmonizer.render(image, mask, Arguments.identity(), other)
    np.testing.assert_array_equal(other, image)


@pytest.mark.parametrize("threads", [True, 1.0, "1"])
def test_threads_of_another_type_are_refused(model: Path, threads: Any) -> None:
    for build in (OnnxPredictor, Harmonizer):
        with pytest.raises(TypeError, match=r"`threads` must be a whole number, or None"):
            build(model, threads=threads)
    assert Harmonizer(model, threads=np.int64(2)).filters == DEFAULT_FILTERS  # type: ignore[arg-type]


def test_concurrent_calls_agree(
    harmonizer: Harmonizer, image: np.ndarray, mask: np.ndarray
) -> None:
    images = [np.roll(image, 7 * shift, axis=1) for shift in range(12)]
    expected = [harmonizer(one, mask) for one in images]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda one: harmonizer(one, mask), images * 3))
    for one, other in zip(found, expected * 3, strict=True):
        np.testing.assert_array_equal(one, other)


def test_unknown_backend_and_threads_are_refused(model: Path) -> None:
    with pytest.raises(ValueError, match=r"one of auto, cpu, cuda; got 'tpu'"):
        Harmonizer(model, backend="tpu")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"`threads` must be at least 1"):
        Harmonizer(model, threads=0)


def test_close_then_predict_is_refused(model: Path, image: np.ndarray, mask: np.ndarray) -> None:
    with Harmonizer(model) as harmonizer:
        harmonizer.predict(image, mask)
    with pytest.raises(ModelError, match="it was closed"):
        harmonizer.predict(image, mask)


def test_other_filter_lists_are_followed(
    tmp_path: Path, image: np.ndarray, mask: np.ndarray
) -> None:
    filters = ("hue", "shadow")
    harmonizer = Harmonizer(write_predictor(tmp_path / "two.onnx", filters))
    assert harmonizer.predict(image, mask).filters == filters
    assert np.any(harmonizer(image, mask) != image)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"metadata": {"harmonizer.format": ""}},
            r'say harmonizer.format = "harmonizer-predictor"',
        ),
        ({"metadata": {"harmonizer.format": "harmonizer-end-to-end"}}, r"Export the predictor"),
        ({"metadata": {"harmonizer.format_version": "2"}}, r"format version 1; it has '2'"),
        ({"metadata": {"harmonizer.filters": "shadow"}}, r"list its filters"),
        ({"metadata": {"harmonizer.filters": '{"a": 1}'}}, r"list its filters.*not a list"),
        ({"metadata": {"harmonizer.filters": '["sepia"]'}}, r"list its filters.*'sepia'"),
        ({"metadata": {"harmonizer.filters": '["hue"]'}}, r"Nx1 .*all.*arguments is .*6\]"),
        ({"size": 128}, r"composite` Nx3x256x256.*its composite is tensor\(float\).*128"),
        ({"batch": 1}, r"N dynamic; the batch of its composite is fixed to 1"),
        ({"names": ("image", "mask", "arguments")}, r"its inputs are image, mask; it has no comp"),
        ({"names": ("composite", "mask", "x")}, r"it has no arguments"),
    ],
)
def test_predictor_of_another_contract_is_refused(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    path = write_predictor(tmp_path / "bent.onnx", **options)
    with pytest.raises(ModelError, match=message) as caught:
        OnnxPredictor(path)
    assert "xport" in str(caught.value)


def test_predictor_damaged_missing_or_split_is_refused(tmp_path: Path, model: Path) -> None:
    with pytest.raises(ModelError, match=r"absent.onnx does not exist\. Check the path"):
        OnnxPredictor(tmp_path / "absent.onnx")
    damaged = tmp_path / "damaged.onnx"
    for content in (b"", b"not a model", model.read_bytes()[:-200]):
        damaged.write_bytes(content)
        with pytest.raises(ModelError, match=r"damaged\.onnx must"):
            OnnxPredictor(damaged)
    with pytest.raises(ModelError, match=r"is a folder\. Name the \.onnx file in it"):
        OnnxPredictor(tmp_path)
    split = write_predictor(tmp_path / "split.onnx", external=True)
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(ModelError, match=r"must hold its weights.*Copy that file too"):
        OnnxPredictor(split)


def test_default_model_missing_names_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harmonizer.predictor.__file__", str(tmp_path / "predictor.py"))
    with pytest.raises(ModelError, match=r"harmonizer\.onnx; it is missing\. Run `make model`"):
        Harmonizer()


def test_predictor_of_a_foreign_model_is_refused(tmp_path: Path) -> None:
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    other = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
    node = onnx.helper.make_node("Identity", ["x"], ["y"])
    foreign = onnx.helper.make_model(
        onnx.helper.make_graph([node], "g", [value], [other]),
        opset_imports=[onnx.helper.make_opsetid("", 17)],
        ir_version=9,
    )
    onnx.save(foreign, tmp_path / "foreign.onnx")
    with pytest.raises(ModelError, match=r"says None: it was not written by this project"):
        OnnxPredictor(tmp_path / "foreign.onnx")


def test_predictor_not_finite_answer_is_refused(tmp_path: Path) -> None:
    predictor = OnnxPredictor(write_predictor(tmp_path / "inf.onnx", offset=np.inf))
    with pytest.raises(ModelError, match=r"finite numbers.*FP32"):
        predictor.predict(
            np.zeros((1, 3, 256, 256), np.float32), np.zeros((1, 1, 256, 256), np.float32)
        )


def test_predictor_failure_while_running_is_a_model_error(tmp_path: Path) -> None:
    predictor = OnnxPredictor(write_failing_predictor(tmp_path / "fails.onnx"))
    with pytest.raises(
        ModelError, match=r"fails\.onnx must run on thumbnails.*Runtime fails.*xport"
    ):
        predictor.predict(
            np.zeros((1, 3, 256, 256), np.float32), np.zeros((1, 1, 256, 256), np.float32)
        )


def test_predictor_batch_and_input_checks(model: Path) -> None:
    generator = np.random.default_rng(2)
    composite = generator.random((5, 3, 256, 256), dtype=np.float32)
    mask = generator.random((5, 1, 256, 256), dtype=np.float32)
    with OnnxPredictor(model, threads=1) as predictor:
        batch = predictor.predict(composite, mask)
        assert batch.shape == (5, 6) and batch.dtype == np.float32
        one = predictor.predict(composite[2:3], mask[2:3])
        np.testing.assert_allclose(batch[2:3], one, atol=1e-6)
        with pytest.raises(TypeError, match=r"`mask` must be float32"):
            predictor.predict(composite, mask.astype(np.float64))
        with pytest.raises(ValueError, match=r"`composite` must have shape \(N, 3, 256, 256\)"):
            predictor.predict(composite[..., :200], mask)
        with pytest.raises(ValueError, match=r"batch size, 5; got 4"):
            predictor.predict(composite, mask[:4])
        assert len(predictor.sha256()) == 64


def test_import_harmonizer_loads_nothing_heavy() -> None:
    code = (
        "import sys, harmonizer; heavy = {'torch', 'numpy', 'onnxruntime', 'PIL', 'tqdm'}; "
        "assert not heavy & set(sys.modules), heavy & set(sys.modules); "
        "from harmonizer import Harmonizer, Arguments, ModelError; "
        "assert 'torch' not in sys.modules; assert set(harmonizer.__all__) <= set(dir(harmonizer))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
