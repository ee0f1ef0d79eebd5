"""The package's own error classes; types and values use Python's TypeError and ValueError.

Every message says what is wrong, the rule, what came, and the remedy.
"""


class HarmonizerError(Exception):
    """Base of the errors that a caller may want to catch together."""


def shortened(text: object, most: int = 500) -> str:
    """A library's message in one line; of a long one the beginning and, above all, the end.

    Libraries put where before why: the reason comes last.
    """
    line = " ".join(str(text).split())
    if len(line) <= most:
        return line
    beginning = most // 4
    return f"{line[:beginning]} ... {line[beginning - most :]}"


def printable(text: str, most: int) -> str:
    """What a file says of itself, for a message: shortened, and nothing that a terminal obeys."""
    return shortened("".join(letter for letter in text if letter.isprintable()), most)


def brief(error: BaseException, most: int = 200) -> str:
    """An error's kind and its text, shortened, to be part of another's message.

    Its repr will not do: that of a UnicodeDecodeError holds the whole file.
    """
    return f"{type(error).__name__}: {shortened(error, most)}"


class FilterListError(HarmonizerError, ValueError):
    """A filter list names an unknown operation, repeats one, or has a wrong length."""


class ArgumentsError(HarmonizerError, ValueError):
    """Filter arguments are missing, unknown, not finite or out of range."""


class ImageFileError(HarmonizerError, ValueError):
    """An image file cannot be read, is too large, or cannot be encoded."""


class StorageError(HarmonizerError, ValueError):
    """A file or folder cannot be written where it was asked for."""


class MaskError(HarmonizerError, ValueError):
    """A mask has values of another scale, or a foreground too thin for a model that crops to it."""


class PlacementError(HarmonizerError, ValueError):
    """A foreground cannot be placed on a background as asked."""


class ModelError(HarmonizerError, ValueError):
    """A model file is not one of ours or does not keep the contract."""


class NativeLibraryError(HarmonizerError, RuntimeError):
    """The compiled renderer is missing or refused a call."""


class DeviceError(NativeLibraryError):
    """The GPU, its driver or a library for it is missing, refused a call or failed."""


class BusyError(DeviceError):
    """Every place for a frame on the GPU is taken."""


class DeviceMemoryError(DeviceError, MemoryError):
    """The GPU has not enough free memory for what was asked; nothing of it was kept."""


class EngineError(ModelError):
    """A TensorRT engine cannot be built, is not one of ours, or is for something else than is here.

    Attributes:
        log: What TensorRT itself said, oldest first.
    """

    def __init__(self, message: str, log: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.log = log


class HarmonizerWarning(UserWarning):
    """The result is what was asked for, but perhaps not what was meant (an empty mask)."""
