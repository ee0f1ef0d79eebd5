"""Arguments, composites with every stage's target, jitter, and what clipping loses."""

import pytest
import torch

from harmonizer.ops import DEFAULT_FILTERS, OPERATIONS
from train.data.synthesis import clipping_loss, draw_arguments, jitter, synthesize
from train.filters import apply_filters

RANGES = torch.tensor([OPERATIONS[name].synthesis_range for name in DEFAULT_FILTERS])


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def photo_and_mask(size: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
    photo = torch.rand(4, 3, size, size, generator=seeded(1)) * 0.6 + 0.2
    mask = torch.zeros(4, 1, size, size)
    mask[:, :, size // 4 : size * 3 // 4, size // 8 : size * 5 // 8] = 1
    return photo, mask


def test_draw_arguments_uniform_fills_the_synthesis_ranges() -> None:
    drawn = draw_arguments(4000, generator=seeded())
    assert (drawn.abs() <= RANGES).all()
    assert (drawn.abs().amax(dim=0) > 0.99 * RANGES).all()
    assert (drawn.mean(dim=0).abs() < 0.05).all()
    torch.testing.assert_close(drawn.std(dim=0), RANGES / 3**0.5, rtol=0.05, atol=0)


def test_draw_arguments_uniform_keeps_the_values_that_fixed_composites_rest_on() -> None:
    drawn = draw_arguments(1, generator=seeded(2207))
    expected = (torch.rand(1, 6, generator=seeded(2207)) * 2 - 1) * RANGES
    assert torch.equal(drawn, expected)


def test_draw_arguments_gaussian_is_narrower_and_cut_at_the_ranges() -> None:
    drawn = draw_arguments(20_000, generator=seeded(), distribution="gaussian")
    assert (drawn.abs() <= RANGES).all()
    assert (drawn.mean(dim=0).abs() < 0.02 * RANGES).all()
    # A unit normal cut at 2 has the standard deviation 0.8796.
    torch.testing.assert_close(drawn.std(dim=0), 0.8796 * RANGES / 2, rtol=0.02, atol=0)
    assert torch.equal(drawn, draw_arguments(20_000, DEFAULT_FILTERS, seeded(), "gaussian"))


def test_draw_arguments_varied_makes_every_other_row_mild() -> None:
    drawn = draw_arguments(20_001, generator=seeded(), distribution="varied") / RANGES
    mild, full = drawn[::2], drawn[1::2]
    torch.testing.assert_close(full.std(dim=0), torch.full((6,), 3**-0.5), rtol=0.02, atol=0)
    # A product of independent variables: E[u^2] E[s^2] = 1/3 * 1/3.
    torch.testing.assert_close(mild.std(dim=0), torch.full((6,), 1 / 3), rtol=0.02, atol=0)
    # A row has one strength: its arguments are large or small together.
    sizes = mild.abs()
    assert torch.corrcoef(sizes.T)[0, 1] > 0.2 > torch.corrcoef(full.abs().T)[0, 1]


def test_draw_arguments_unknown_distribution_is_refused() -> None:
    with pytest.raises(ValueError, match="`distribution` must be one of"):
        draw_arguments(1, distribution="cauchy")


def test_synthesize_last_filter_alone_is_undone_by_its_inverse() -> None:
    photo, mask = photo_and_mask()
    arguments = torch.tensor([[0.2], [-0.2], [0.3], [-0.1]])
    composite, targets = synthesize(photo, mask, arguments, ("shadow",))
    inverse = 1 - 1 / (1 - arguments)  # (I^(1-x))^(1-y) = I
    restored = apply_filters(composite, inverse, ("shadow",))[-1]
    torch.testing.assert_close(restored * mask, targets[-1] * mask, rtol=0, atol=1e-5)


def test_synthesize_draws_in_reverse_order_and_keeps_the_background() -> None:
    photo, mask = photo_and_mask()
    arguments = draw_arguments(4, generator=seeded(2))
    composite, targets = synthesize(photo, mask, arguments)
    reverse = apply_filters(photo, arguments.flip(1), DEFAULT_FILTERS[::-1])
    assert len(targets) == 6
    for image, made in zip((composite, *targets[:-1]), reverse[::-1], strict=True):
        assert torch.equal(image * mask, made * mask)
    for image in (composite, *targets):
        assert torch.equal(image * (1 - mask), photo * (1 - mask))


def test_synthesize_soft_mask_last_target_is_the_photograph_to_the_bit() -> None:
    photo, mask = photo_and_mask()
    _, targets = synthesize(photo, 0.3 * mask, draw_arguments(4, generator=seeded(2)))
    assert torch.equal(targets[-1], photo)


def test_synthesize_float64_stays_float64_and_agrees_with_float32() -> None:
    photo, mask = photo_and_mask()
    arguments = draw_arguments(4, generator=seeded(2))
    exact, _ = synthesize(photo.double(), mask.double(), arguments.double())
    assert exact.dtype == torch.float64
    torch.testing.assert_close(
        synthesize(photo, mask, arguments)[0].double(), exact, rtol=0, atol=1e-4
    )


def test_jitter_stays_close_in_range_and_follows_its_amounts() -> None:
    photo, _ = photo_and_mask()
    amounts = torch.rand(4, 4, generator=seeded()) * 2 - 1
    amounts[3] = 0
    varied = jitter(photo, amounts)
    assert varied.min() >= 0 and varied.max() <= 1
    assert 0.005 < (varied - photo)[:3].abs().mean() < 0.1
    torch.testing.assert_close(varied[3], photo[3], rtol=0, atol=1e-6)
    torch.testing.assert_close(jitter(photo[1:2], amounts[1:2]), varied[1:2], rtol=0, atol=1e-6)
    brighter = jitter(photo, torch.tensor([[1.0, 0.0, 0.0, 0.0]]).expand(4, 4))
    torch.testing.assert_close(brighter, 1.1 * photo, rtol=0, atol=1e-6)


def test_clipping_loss_known_clipping_gives_the_variance_of_what_was_swallowed() -> None:
    photo = torch.linspace(0, 1, 256).view(1, 1, 16, 16).expand(2, 3, 16, 16)
    mask = torch.ones(2, 1, 16, 16)
    # Brightness 0.5 doubles: the upper half of the values ends at 1. -0.5 halves: nothing is lost.
    loss = clipping_loss(photo, mask, torch.tensor([[0.5], [-0.5]]), ("brightness",))
    upper = photo[0, 0].flatten()[128:]
    expected = 255**2 * ((upper - upper.mean()) ** 2).sum() / 256
    torch.testing.assert_close(loss, torch.tensor([expected, 0.0]))


def test_clipping_loss_is_a_bound_on_what_the_inverse_filter_restores() -> None:
    photo = torch.rand(8, 3, 24, 24, generator=seeded(3))
    mask = torch.ones(8, 1, 24, 24) * 0.5
    arguments = torch.linspace(0.05, 0.5, 8)[:, None]
    composite, _ = synthesize(photo, torch.ones_like(mask), arguments, ("brightness",))
    restored = composite * (1 - arguments[:, :, None, None])
    error = 255**2 * ((restored - photo) ** 2).mean(dim=(1, 2, 3))
    loss = clipping_loss(photo, mask, arguments, ("brightness",))
    assert (loss > 0).all() and (loss < error).all() and (loss > 0.1 * error).all()


def test_clipping_loss_ignores_the_background_and_counts_both_ends() -> None:
    photo, mask = photo_and_mask()
    # All that surrounds the foreground, itself in [0.2, 0.8], would clip.
    photo = photo * mask + (0.92 + 0.1 * (photo - 0.2)) * (1 - mask)
    gentle = torch.full((4, 1), 0.1)
    assert clipping_loss(photo, mask, gentle, ("brightness",)).max() == 0
    # Contrast 0.75 is four times the distance to the mean: both ends are cut off.
    steep = clipping_loss(photo, mask, torch.full((4, 1), 0.75), ("contrast",))
    assert steep.min() > 10


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_synthesize_cuda_agrees_with_the_cpu_without_waiting_for_it() -> None:
    photo, mask = photo_and_mask()
    arguments = draw_arguments(4, generator=seeded(2))
    inputs = [tensor.cuda() for tensor in (photo, mask, arguments)]
    amounts = torch.rand(4, 4, generator=seeded()).cuda()
    torch.cuda.set_sync_debug_mode("error")
    try:
        composite, targets = synthesize(*inputs)
        jitter(inputs[0], amounts)
        clipping_loss(*inputs)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    expected, expected_targets = synthesize(photo, mask, arguments)
    for ours, theirs in zip((composite, *targets), (expected, *expected_targets), strict=True):
        torch.testing.assert_close(ours.cpu(), theirs, rtol=0, atol=1e-4)
