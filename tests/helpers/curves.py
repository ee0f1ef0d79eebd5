"""Curves to test with."""

import numpy as np
from numpy.typing import NDArray

from harmonizer.ops import CURVE_KNOTS, OPERATIONS
from harmonizer.values import Value, of_numbers


def random_slopes(generator: np.random.Generator, stages: int = 2) -> NDArray[np.float32]:
    """(stages, 3, 64) slopes of wavy curves, some of them falling in places; any scale."""
    knots = np.linspace(0, 2 * np.pi, CURVE_KNOTS)
    shape = (stages, 3, 1)
    waves = 1 + generator.uniform(-0.8, 0.8, shape) * np.sin(
        generator.uniform(0.5, 3, shape) * knots + generator.uniform(0, 6, shape)
    )
    noise = generator.normal(0, 0.3, (stages, 3, CURVE_KNOTS))
    return (generator.uniform(0.2, 3, shape) * (waves + noise)).astype(np.float32)


def curves() -> list[Value]:
    """Cascades at the edges of the definition: idle, steep, falling, sums of nothing."""
    generator = np.random.default_rng(5)
    ones = np.ones((1, 3, CURVE_KNOTS), np.float32)
    step = np.zeros_like(ones)
    step[..., 20] = 64
    zigzag = ones * np.tile([1, -1], CURVE_KNOTS // 2).astype(np.float32)
    falling = random_slopes(generator, 1)
    falling[0, 1] *= -1
    shaped = [
        ones,
        0 * ones,
        zigzag,
        zigzag - np.float32(0.01),
        step,
        falling,
        random_slopes(generator, 1),
        random_slopes(generator, 2),
        np.concatenate([random_slopes(generator, 1), step, random_slopes(generator, 1)]),
    ]
    return [of_numbers(slopes.reshape(-1)) for slopes in shaped]


def random_value(generator: np.random.Generator, name: str, limit: float) -> Value:
    """An argument within [-limit, limit], or curves for the operation that takes them."""
    if OPERATIONS[name].sizes == (1,):
        return float(generator.uniform(-limit, limit))
    stages = int(generator.integers(1, len(OPERATIONS[name].sizes) + 1))
    return of_numbers(random_slopes(generator, stages).reshape(-1))
