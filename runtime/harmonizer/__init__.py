"""White-box image harmonization: predict photo-filter arguments, draw them at full resolution.

``from harmonizer import Harmonizer, Arguments``. The names below are imported when first used, so
that ``import harmonizer`` costs nothing; no part of the package imports torch.
"""

import sys
from typing import TYPE_CHECKING

if sys.version_info < (3, 11):  # noqa: UP036 - pip asks, a folder on the path does not
    raise ImportError(
        f"harmonizer must have Python 3.11 or newer; this is {sys.version.split()[0]}. Install a "
        "newer Python, and harmonizer into it."
    )

if TYPE_CHECKING:
    from harmonizer.arguments import Arguments
    from harmonizer.errors import (
        ArgumentsError,
        DeviceError,
        DeviceMemoryError,
        FilterListError,
        HarmonizerError,
        HarmonizerWarning,
        ImageFileError,
        MaskError,
        ModelError,
        NativeLibraryError,
        PlacementError,
        StorageError,
    )
    from harmonizer.harmonizer import Harmonizer
    from harmonizer.images.cutouts import Placing
    from harmonizer.images.encoding import Quality
    from harmonizer.picture import Picture, open
    from harmonizer.placement import Placed, place

__version__ = "0.1.0"

__all__ = [
    "Arguments",
    "ArgumentsError",
    "DeviceError",
    "DeviceMemoryError",
    "FilterListError",
    "Harmonizer",
    "HarmonizerError",
    "HarmonizerWarning",
    "ImageFileError",
    "MaskError",
    "ModelError",
    "NativeLibraryError",
    "Picture",
    "Placed",
    "PlacementError",
    "Placing",
    "Quality",
    "StorageError",
    "__version__",
    "open",
    "place",
]


def __getattr__(name: str) -> object:
    """Import an exported name on first use (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    home = {
        "Arguments": "arguments",
        "Harmonizer": "harmonizer",
        "Picture": "picture",
        "Placed": "placement",
        "Placing": "images.cutouts",
        "Quality": "images.encoding",
        "open": "picture",
        "place": "placement",
    }.get(name, "errors")
    value: object = getattr(importlib.import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
