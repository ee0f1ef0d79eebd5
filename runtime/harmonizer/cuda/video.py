"""Where surfaces were until now, for one release: see `harmonizer.cuda.surfaces`."""

import warnings


def __getattr__(name: str) -> object:
    if name != "VideoImage":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from harmonizer.cuda.surfaces import Surface

    warnings.warn(
        "harmonizer.cuda.video.VideoImage is harmonizer.cuda.surfaces.Surface from now on; the "
        "old name goes with the next release. Import the new one.",
        DeprecationWarning,
        stacklevel=2,
    )
    return Surface
