"""The torch filters: golden vectors, identity, gradients, ranges; driven by the registry."""

import itertools

import numpy as np
import pytest
import torch
from repository import shared_data

from export import tolerances
from harmonizer.errors import FilterListError
from harmonizer.ops import DEFAULT_FILTERS, MAX_FILTERS, OPERATIONS, PHOTO_FILTERS
from train.filters import FILTERS, apply_filters, blend

DTYPES = [torch.float32, torch.float64]


def random_image(
    dtype: torch.dtype, count: int = 2, size: tuple[int, int] = (5, 7)
) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.rand(count, 3, *size, generator=generator, dtype=dtype)


def argument(name: str, values: list[float], dtype: torch.dtype) -> torch.Tensor:
    """The same number everywhere where an operation takes many, (N,) or (N, m)."""
    size = OPERATIONS[name].sizes[-1]
    x = torch.tensor(values, dtype=dtype)
    return x if size == 1 else x[:, None].repeat(1, size)


def test_filters_cover_the_registry_exactly() -> None:
    assert list(FILTERS) == list(OPERATIONS)


@pytest.mark.parametrize("dtype", DTYPES)
def test_apply_filters_golden_cases_match(dtype: torch.dtype) -> None:
    golden = np.load(shared_data("golden", "filters.npz"))
    assert tuple(golden["order"]) == DEFAULT_FILTERS
    errors = []
    for case, index in enumerate(golden["case_image"]):
        image = torch.from_numpy(golden["comp"][index])[None].to(dtype)
        mask = torch.from_numpy(golden["mask"][index])[None].to(dtype)
        arguments = torch.from_numpy(golden["case_args"][case])[None].to(dtype)
        stages = [blend(stage, image, mask) for stage in apply_filters(image, arguments)]
        errors.append(np.abs(torch.cat(stages).numpy() - golden["stage_outputs"][case]))
    error = np.stack(errors)
    assert error.max() <= tolerances.GOLDEN_STAGES_MAX
    assert (error > tolerances.GOLDEN_STAGES).mean() <= tolerances.GOLDEN_STAGES_SHARE


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", OPERATIONS)
def test_filter_identity_argument_returns_the_input(name: str, dtype: torch.dtype) -> None:
    image = random_image(dtype)
    image[0, :, 0, :4] = torch.eye(4)[:3].to(dtype)  # black, and the primaries
    image[0, :, 1, 0] = 1
    x = argument(name, [OPERATIONS[name].identity] * 2, dtype)
    assert (FILTERS[name](image, x) - image).abs().max() <= tolerances.IDENTITY


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("name", PHOTO_FILTERS)  # test_s2crnet.py has the curves'
def test_filter_gradient_matches_finite_differences(name: str, sign: int) -> None:
    if name == "contrast" and sign > 0:
        pytest.skip("stepped on purpose; test_contrast_positive_* checks its gradient")
    image = (random_image(torch.float64) * 0.8 + 0.1).requires_grad_()
    x = torch.tensor([0.21 * sign, 0.13 * sign], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(FILTERS[name], (image, x))


def test_contrast_positive_gradient_is_that_of_the_formula_without_floor() -> None:
    image = random_image(torch.float64) * 0.2 + 0.4  # small enough that nothing is clipped
    x = torch.tensor([0.2, 0.4], dtype=torch.float64, requires_grad=True)
    FILTERS["contrast"](image, x).pow(2).sum().backward()
    smooth = x.detach().clone().requires_grad_()
    strength = 255 / (256 - 255 * smooth) - 1
    mean = image.mean(dim=(1, 2, 3), keepdim=True)
    (image + (image - mean) * strength.view(-1, 1, 1, 1)).pow(2).sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, smooth.grad, rtol=0.02, atol=0)


def test_contrast_positive_forward_moves_in_steps_of_255() -> None:
    image = random_image(torch.float64, count=1)
    same = [
        FILTERS["contrast"](image, torch.tensor([x / 255], dtype=torch.float64))
        for x in (20.1, 20.9)
    ]
    next_step = FILTERS["contrast"](image, torch.tensor([21.1 / 255], dtype=torch.float64))
    assert torch.equal(*same)
    assert not torch.equal(same[0], next_step)


@pytest.mark.parametrize("value", [-1.0, -0.999, 0.999, 1.0])
@pytest.mark.parametrize("name", OPERATIONS)
def test_filter_extreme_argument_stays_in_range_with_finite_gradient(
    name: str, value: float
) -> None:
    image = random_image(torch.float32)
    image[:, :, 0, 0], image[:, :, 0, 1] = 0, 1
    x = argument(name, [value] * 2, torch.float32).requires_grad_()
    output = FILTERS[name](image, x)
    output.sum().backward()
    assert output.min() >= 0 and output.max() <= 1
    assert x.grad is not None and torch.isfinite(x.grad).all()


@pytest.mark.parametrize("name", OPERATIONS)
def test_filter_batch_equals_single_images(name: str) -> None:
    image, x = random_image(torch.float64, count=3), argument(name, [-0.4, 0.1, 0.3], torch.float64)
    together = FILTERS[name](image, x)
    alone = torch.cat([FILTERS[name](image[i : i + 1], x[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-14)


@pytest.mark.parametrize("name", PHOTO_FILTERS)
def test_filter_direction_is_what_the_registry_says(name: str) -> None:
    image = torch.full((1, 3, 4, 4), 0.5, dtype=torch.float64)
    image[:, 0, :, 2:], image[:, 2, 2:] = 0.8, 0.3
    before, after = image.mean(dim=(2, 3))[0], {}
    for x in (-0.3, 0.3):
        out = FILTERS[name](image, torch.tensor([x], dtype=torch.float64))
        after[x] = (out.mean(dim=(2, 3))[0], out)
    red, green, blue = (after[0.3][0] - after[-0.3][0]).tolist()
    spread = {x: (o.amax(1) - o.amin(1)).mean() for x, (_, o) in after.items()}
    deviation = {x: o.std() for x, (_, o) in after.items()}
    agrees = {
        "temperature": red > 0 > blue,
        "brightness": min(red, green, blue) > 0,
        "contrast": deviation[0.3] > deviation[-0.3],
        "saturation": spread[0.3] > spread[-0.3],
        "highlight": min(red, green, blue) > 0,
        "shadow": min(red, green, blue) > 0,
        "tint": red > 0 > green and blue > 0,
        "hue": before[0] > before[2] and green > 0,
    }
    assert agrees[name]


def test_apply_filters_any_ordered_subset_is_a_composition() -> None:
    image = random_image(torch.float64)
    for subset in itertools.permutations(PHOTO_FILTERS, 2):
        arguments = torch.tensor([[0.2, -0.1], [-0.3, 0.15]], dtype=torch.float64)
        first, second = apply_filters(image, arguments, subset)
        assert torch.equal(first, FILTERS[subset[0]](image, arguments[:, 0]))
        assert torch.equal(second, FILTERS[subset[1]](first, arguments[:, 1]))


def test_apply_filters_longest_list_runs() -> None:
    arguments = torch.zeros(2, MAX_FILTERS)
    stages = apply_filters(random_image(torch.float32), arguments, PHOTO_FILTERS[-MAX_FILTERS:])
    assert len(stages) == MAX_FILTERS


def test_apply_filters_clamps_arguments_to_the_range() -> None:
    image = random_image(torch.float32)
    inside = apply_filters(image, torch.ones(2, 6))[-1]
    outside = apply_filters(image, torch.full((2, 6), 7.0))[-1]
    assert torch.equal(inside, outside)


def test_apply_filters_wrong_input_is_refused() -> None:
    image = random_image(torch.float32)
    with pytest.raises(FilterListError, match=r"'glow'.*Choose among temperature"):
        apply_filters(image, torch.zeros(2, 1), ["glow"])
    with pytest.raises(FilterListError, match="once"):
        apply_filters(image, torch.zeros(2, 2), ["shadow", "shadow"])
    with pytest.raises(ValueError, match=r"arguments must be \(N, k\) = \(2, 6\)"):
        apply_filters(image, torch.zeros(2, 5))
    with pytest.raises(ValueError, match=r"image must be \(N, 3, H, W\)"):
        apply_filters(image[0], torch.zeros(1, 6))
    with pytest.raises(ValueError, match="one dtype"):
        apply_filters(image, torch.zeros(2, 6, dtype=torch.float64))
