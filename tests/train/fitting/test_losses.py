"""Stage losses and how they become one."""

from collections.abc import Callable

import pytest
import torch

from train.fitting.losses import STAGE_LOSSES, dynamic_loss, image_loss, masked_l1


def stages() -> list[torch.Tensor]:
    return [torch.tensor([v], requires_grad=True) for v in (2.0, 1.0, 3.0, 3.5)]


def test_image_loss_known_difference_gives_the_formula() -> None:
    mask = torch.zeros(4, 1, 32, 32)
    mask[:, :, 8:24, 4:20] = 1
    output = torch.full((4, 3, 32, 32), 0.5)
    expected = (0.1**2 + 1e-6) ** 0.5 + 10 * 0.1**2
    loss = image_loss(output, output + 0.1 * mask + 0.3 * (1 - mask), mask)
    torch.testing.assert_close(loss, torch.full((4,), expected))


def test_dynamic_loss_blames_each_stage_for_what_it_adds() -> None:
    losses = stages()
    loss = dynamic_loss(losses)
    loss.sum().backward()
    total = 2.0 + 2.0 + 0.5
    assert loss.tolist() == pytest.approx([1.0])
    gradients = [stage.grad.item() for stage in losses if stage.grad is not None]
    assert gradients == pytest.approx([1 / total, 0.0, 1 / total, 1 / total])


def test_dynamic_loss_one_stage_is_its_relative_loss() -> None:
    (loss,) = only = [torch.tensor([4.0], requires_grad=True)]
    dynamic_loss(only).sum().backward()
    assert loss.grad is not None and loss.grad.item() == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("name", "value", "gradients"),
    [
        ("plain", 9.5 / 4, [0.25] * 4),
        ("sum", 9.5, [1.0] * 4),
        ("final", 3.5, [None, None, None, 1.0]),
    ],
)
def test_stage_losses_for_the_ablation(
    name: str, value: float, gradients: list[float | None]
) -> None:
    losses = stages()
    loss = STAGE_LOSSES[name](losses)
    loss.sum().backward()
    assert loss.tolist() == pytest.approx([value])
    assert [s.grad if s.grad is None else s.grad.item() for s in losses] == gradients


@pytest.mark.parametrize("name", STAGE_LOSSES)
def test_stage_losses_no_images_give_no_losses(name: str) -> None:
    assert STAGE_LOSSES[name]([torch.empty(0)] * 3).shape == (0,)


def test_masked_l1_is_the_mean_over_mask_and_channels() -> None:
    output, target = torch.zeros(2, 3, 2, 2), torch.zeros(2, 3, 2, 2)
    output[0, :, 0, 0], output[0, :, 1, 1] = torch.tensor([0.3, -0.3, 0.0]), 9.0
    output[1, 0] = 0.5
    mask = torch.ones(2, 1, 2, 2)
    mask[0, 0] = torch.tensor([[1.0, 0.5], [0.5, 0.0]])
    assert masked_l1(output, target, mask).tolist() == pytest.approx([0.6 / 6, 0.5 / 3])


@pytest.mark.parametrize("name", STAGE_LOSSES)
@pytest.mark.parametrize("distance", [image_loss, masked_l1])
def test_empty_mask_teaches_nothing_and_spoils_nothing(
    name: str, distance: Callable[..., torch.Tensor]
) -> None:
    """Of a thin mask, thinned out, nothing may be left: the batch's other images still count."""
    mask = torch.ones(2, 1, 4, 4)
    mask[1] = 0
    outputs = [torch.full((2, 3, 4, 4), v, requires_grad=True) for v in (0.2, 0.4)]
    losses = [distance(o, torch.zeros(2, 3, 4, 4), mask) for o in outputs]
    loss = STAGE_LOSSES[name](losses)
    loss.sum().backward()
    assert loss[0] > 0 and loss[1] == 0
    gradients = [o.grad for o in outputs if o.grad is not None]
    assert gradients and all(g[0].abs().sum() > 0 and (g[1] == 0).all() for g in gradients)
