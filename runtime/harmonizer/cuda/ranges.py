"""Named ranges round what is queued, so that a profile can be read (NVTX).

They are there where the `nvtx` package is installed, and cost a look at a variable where not.
"""

from collections.abc import Callable, Iterable

try:
    import nvtx
except ImportError:
    nvtx = None

Call = Callable[[], None]


def call_in_range(stage: str, calls: Iterable[Call]) -> None:
    """Call one after the other, in a range of this name."""
    if nvtx is None:
        for call in calls:
            call()
        return
    with nvtx.annotate(stage, domain="harmonizer"):
        for call in calls:
            call()
