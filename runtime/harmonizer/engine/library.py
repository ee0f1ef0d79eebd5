"""Choose and import the TensorRT module, and collect what it says."""

import importlib
import importlib.util
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from typing import Any, Literal, get_args

from harmonizer.errors import DeviceError, shortened

Module = Literal["tensorrt", "tensorrt_rtx"]
MODULES: tuple[Module, ...] = get_args(Module)

OLDEST = (10, 12)
"""Oldest `tensorrt` whose strongly typed networks are those of TensorRT 11."""

_INSTALL = {
    "tensorrt": "pip install 'tensorrt>=10.12' (its libraries come from NVIDIA's own index)",
    "tensorrt_rtx": "pip install tensorrt_rtx",
}
_listeners: list[list[str]] = []
_guard = threading.Lock()
_loggers: dict[str, Any] = {}


def choose_module(wanted: str) -> Module:
    """The module that builds: the one wanted, or for "auto" `tensorrt` before `tensorrt_rtx`.

    Raises:
        ValueError: If the name is unknown.
        DeviceError: If it is not installed.
    """
    if wanted != "auto" and wanted not in MODULES:
        raise ValueError(f"`module` must be auto, {' or '.join(MODULES)}; got {wanted!r}.")
    candidates = MODULES if wanted == "auto" else tuple(m for m in MODULES if m == wanted)
    for name in candidates:
        if importlib.util.find_spec(name) is not None:
            return name
    raise DeviceError(
        f"an engine needs {' or '.join(candidates)}; not installed here. Run "
        f"{', or '.join(_INSTALL[name] for name in candidates)}."
    )


def import_tensorrt(name: Module) -> Any:
    """Import one of the two modules; safe without a driver.

    Raises:
        DeviceError: If it is missing, its libraries do not load, or it is too old.
    """
    choose_module(name)
    try:
        trt = importlib.import_module(name)
    except (ImportError, OSError, RuntimeError) as error:
        raise DeviceError(
            f"`import {name}` must work; it fails ({error}). Install it again: {_INSTALL[name]}."
        ) from error
    if name == "tensorrt" and version_tuple(trt.__version__)[:2] < OLDEST:
        raise DeviceError(
            f"tensorrt must be {'.'.join(map(str, OLDEST))} or newer, where precision comes from "
            f"the ONNX file; this is {trt.__version__}. Update it: {_INSTALL[name]}."
        )
    return trt


def version_tuple(version: str) -> tuple[int, ...]:
    """The leading numbers of a version: "10.16.1.11" is (10, 16, 1, 11)."""
    numbers = []
    for part in version.split("."):
        if not part.isdigit():
            break
        numbers.append(int(part))
    return tuple(numbers)


def cuda_of(name: Module) -> int | None:
    """The CUDA that the installed wheel was made for; None if it does not say."""
    for cuda in (13, 12):
        try:
            metadata.version(f"{name}_cu{cuda}_bindings")
        except metadata.PackageNotFoundError:
            continue
        return cuda
    return None


def logger_of(trt: Any) -> Any:
    """The one logger of a module: TensorRT keeps the first it is given for the whole process."""
    with _guard:
        if trt.__name__ not in _loggers:
            _loggers[trt.__name__] = _make_logger(trt)
        return _loggers[trt.__name__]


def _make_logger(trt: Any) -> Any:
    class Log(trt.ILogger):  # type: ignore[misc]  # the base is known at run time only
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if severity in (
                trt.ILogger.INTERNAL_ERROR,
                trt.ILogger.ERROR,
                trt.ILogger.WARNING,
            ):
                with _guard:
                    for heard in _listeners:
                        heard.append(" ".join(message.split()))

    return Log()


@contextmanager
def listening() -> Iterator[list[str]]:
    """Collect the warnings and errors that TensorRT logs meanwhile, on any thread."""
    heard: list[str] = []
    with _guard:
        _listeners.append(heard)
    try:
        yield heard
    finally:
        with _guard:
            _listeners[:] = [other for other in _listeners if other is not heard]


def quoted(heard: list[str]) -> str:
    """The last messages in one parenthesis, or what to say without any."""
    if not heard:
        return "(TensorRT gave no reason)"
    return f"({'; '.join(shortened(message, 400) for message in heard[-3:])})"
