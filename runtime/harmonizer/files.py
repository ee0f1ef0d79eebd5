"""Where files of pictures were until now, for one release: see `harmonizer.images.files`."""

import warnings


def __getattr__(name: str) -> object:
    from harmonizer.images import files

    if name.startswith("_") or not hasattr(files, name):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warnings.warn(
        "harmonizer.files is harmonizer.images.files from now on; the old name goes with the next "
        "release. Import the new one.",
        DeprecationWarning,
        stacklevel=2,
    )
    found: object = getattr(files, name)
    return found
