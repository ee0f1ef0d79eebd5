"""The ordered registry of photo operations: the one place where each is declared.

PyTorch filters, the C++/CUDA header (``runtime/kernels/hz_operations.h``, which c_header.py
generates), ONNX metadata, the command line and the documentation all read it. Colour values are
display-referred sRGB in [0, 1], channel order R, G, B.

Abbreviations in the equations: I a colour value, x the argument, c a channel, clip = clamp to
[0, 1], e = 1e-6.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from harmonizer.errors import FilterListError

EPSILON = 1e-6
"""Guards the divisions of brightness, temperature and saturation."""

POWER_EPSILON = 1e-9
"""Added under the powers of highlight, shadow and gamma, so that 0 has a finite logarithm."""

CURVE_KNOTS = 64
"""Slopes of one piecewise-linear curve."""

CURVE_STAGES = 3
"""Most curves that one cascade applies one after the other."""

CURVE_LEAST_MEAN = 0.05
"""A curve's slopes are moved to at least this mean before they are divided by it."""

Statistics = Literal["none", "channel_means", "mean"]
Scope = Literal["value", "channel", "pixel"]


@dataclass(frozen=True, slots=True)
class Operation:
    """What one photo operation is, apart from its pixel maths.

    Attributes:
        name: Identifier in the API, in files and in ONNX metadata.
        code: Number of the operation in C; stable, never reused.
        effect: One line for people: what a positive argument does.
        equation: The formula, in the abbreviations of this module.
        source: Where the formula comes from.
        scope: "value" if one function serves all three channels, "channel" if each channel has
            its own function, "pixel" if the channels mix.
        statistics: What it reads of the whole current image: nothing, the three channel means,
            or the mean over pixels and channels.
        synthesis_range: Training composites draw x uniformly from [-range, range]; 0 for an
            operation that they are not made with.
        minimum, maximum: Arguments are clamped to this interval when drawn.
        identity: The argument that changes nothing.
        sizes: How many numbers the argument may have. With more than one, minimum, maximum and
            identity are each number's.
    """

    name: str
    code: int
    effect: str
    equation: str
    source: str
    scope: Scope
    statistics: Statistics
    synthesis_range: float
    minimum: float = -1.0
    maximum: float = 1.0
    identity: float = 0.0
    sizes: tuple[int, ...] = (1,)


_PAPER = "Harmonizer, arXiv 2207.01322, section 3.2, and its public repository"

_REGISTERED = (
    Operation(
        name="temperature",
        code=0,
        effect="warmer (red) above 0, cooler (blue) below",
        equation=(
            "m_c = mean of channel c; g = (m_R+m_G+m_B)/3; m'_R = m_R+max(-x,0); "
            "m'_G = m_G+|x|/2; m'_B = m_B+max(x,0); g' = mean of the m'; "
            "I_c <- clip((g'/(m'_c+e) + 1 - g/(m_c+e)) * I_c)"
        ),
        source=_PAPER,
        scope="channel",
        statistics="channel_means",
        synthesis_range=0.3,
    ),
    Operation(
        name="brightness",
        code=1,
        effect="brighter above 0, darker below",
        equation="a = 1/(1-x+e) if x >= 0 else 1+x; I <- clip(a*I)",
        source=_PAPER,
        scope="value",
        statistics="none",
        synthesis_range=0.5,
    ),
    Operation(
        name="contrast",
        code=2,
        effect="away from the mean above 0, towards it below",
        equation=(
            "t = mean over pixels and channels; c = 255/(256-floor(255x)) - 1 if x > 0 else x; "
            "I <- clip(I + (I-t)*c)"
        ),
        source=_PAPER,
        scope="value",
        statistics="mean",
        synthesis_range=0.5,
    ),
    Operation(
        name="saturation",
        code=3,
        effect="more colourful above 0, towards grey below",
        equation=(
            "v = max-min; r = max+min; l = r/2; s = v/(r+e) if l < 0.5 else v/(2-r+e); "
            "x >= 0: d = max(s, 1-x), I <- clip(I + (I-l)*(1/(d+e)-1)); "
            "x < 0: I <- clip(l + (I-l)*(1+x))"
        ),
        source=_PAPER,
        scope="pixel",
        statistics="none",
        synthesis_range=0.6,
    ),
    Operation(
        name="highlight",
        code=4,
        effect="lifts the bright tones above 0, lowers them below",
        equation="I <- clip(1 - clip((1-I+1e-9)^(x+1)))",
        source=_PAPER,
        scope="value",
        statistics="none",
        synthesis_range=0.4,
    ),
    Operation(
        name="shadow",
        code=5,
        effect="lifts the dark tones above 0, lowers them below",
        equation="I <- clip((I+1e-9)^(1-x))",
        source=_PAPER,
        scope="value",
        statistics="none",
        synthesis_range=0.4,
    ),
    Operation(
        name="tint",
        code=6,
        effect="towards magenta above 0, towards green below",
        equation="I_R <- clip((1+x/4)*I_R); I_G <- clip((1-x/2)*I_G); I_B <- clip((1+x/4)*I_B)",
        source=(
            "the second white-balance axis of raw converters, as a gain that keeps grey's mean; "
            "temperature leaves that axis alone (docs/decisions/0004-two-more-operations.md)"
        ),
        scope="channel",
        statistics="none",
        synthesis_range=0.3,
    ),
    Operation(
        name="hue",
        code=7,
        effect="turns colours from red towards green above 0, towards blue below",
        equation=(
            "p = pi*x/3; u = (1-cos p)/3; w = sin(p)/sqrt(3); S = R+G+B; "
            "R' = R cos p + u S + w(B-G); G' = G cos p + u S + w(R-B); "
            "B' = B cos p + u S + w(G-R); I <- clip(I')"
        ),
        source=(
            "Rodrigues' rotation about the grey axis (1,1,1)/sqrt(3); 60 degrees at x = 1 "
            "(docs/decisions/0004-two-more-operations.md)"
        ),
        scope="pixel",
        statistics="none",
        synthesis_range=0.15,
    ),
    Operation(
        name="piecewise_curve",
        code=8,
        effect="bends the tones of each channel along its own curve, 1 to 3 curves in turn",
        equation=(
            "per curve and channel: m = mean of the 64 numbers x_i; "
            "x_i <- x_i + s max(0.05-|m|, 0), s = 1 if m >= 0 else -1; n_i = x_i / mean(x); "
            "I_c <- clip(sum_i n_i clamp(I_c - i/64, 0, 1/64))"
        ),
        source=(
            "S2CRNet, arXiv 2109.05750, section 3.3, and its public repository, which divide by "
            "the sum as it is (docs/decisions/0009-curves.md)"
        ),
        scope="channel",
        statistics="none",
        synthesis_range=0.0,
        minimum=-64.0,
        maximum=64.0,
        identity=1.0,
        sizes=tuple(3 * CURVE_KNOTS * stages for stages in range(1, CURVE_STAGES + 1)),
    ),
)

OPERATIONS: dict[str, Operation] = {operation.name: operation for operation in _REGISTERED}
"""Every registered operation by name, in the order of their codes."""

PHOTO_FILTERS: tuple[str, ...] = tuple(op.name for op in _REGISTERED if op.sizes == (1,))
"""The operations whose argument is one number."""

DEFAULT_FILTERS: tuple[str, ...] = (
    "temperature",
    "brightness",
    "contrast",
    "saturation",
    "highlight",
    "shadow",
)
"""The paper's six filters, in the paper's order."""

MAX_FILTERS = 8
"""The longest filter list; the C structures hold this many steps."""


def check_filters(filters: Iterable[str]) -> tuple[str, ...]:
    """Check a filter list: registered names, none twice, 1 to ``MAX_FILTERS`` of them.

    Args:
        filters: Operation names in the order in which they are drawn.

    Returns:
        The names as a tuple.

    Raises:
        FilterListError: If a name is unknown or repeated, or the list is empty or too long.
    """
    names = tuple(filters)
    unknown = [name for name in names if name not in OPERATIONS]
    if unknown:
        raise FilterListError(
            f"filters must be registered operations; got {', '.join(map(repr, unknown))}. "
            f"Choose among {', '.join(OPERATIONS)}."
        )
    if len(set(names)) != len(names):
        raise FilterListError(f"each filter may appear once; got {', '.join(names)}.")
    if not 1 <= len(names) <= MAX_FILTERS:
        raise FilterListError(f"a filter list has 1 to {MAX_FILTERS} entries; got {len(names)}.")
    return names
