"""What the description beside an engine must look like, key by key.

A description travels with an engine and may be edited by anybody: nothing in it is used before it
was held against this, and nothing in it gives permission for anything.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from harmonizer.engine.library import MODULES
from harmonizer.engine.options import COMPATIBILITIES, COMPUTE_CAPABILITIES, LARGEST_BATCH

MAX_TEXT = 1 << 16

_Check = Callable[[Any], bool]


def _text(value: Any, most: int = 200) -> bool:
    return isinstance(value, str) and len(value) <= most


def _matches(pattern: str) -> _Check:
    return lambda value: _text(value) and re.fullmatch(pattern, value) is not None


def _whole(least: int, most: int) -> _Check:
    return lambda value: type(value) is int and least <= value <= most


def _one_of(*values: Any) -> _Check:
    return lambda value: any(type(value) is type(other) and value == other for other in values)


def _list_of(check: _Check, least: int, most: int) -> _Check:
    return lambda value: (
        isinstance(value, list) and least <= len(value) <= most and all(map(check, value))
    )


def _either(check: _Check) -> _Check:
    return lambda value: value is None or check(value)


_GPU: Mapping[str, _Check] = {"name": _text, "compute_capability": _matches(r"\d{1,3}\.\d{1,3}")}

_FACTS: Mapping[str, _Check] = {
    "engine_sha256": _matches("[0-9a-f]{64}"),
    "onnx_sha256": _matches("[0-9a-f]{64}"),
    "module": _one_of(*MODULES),
    "version": _matches(r"\d{1,6}(\.\d{1,6}){0,4}[0-9A-Za-z.+-]{0,20}"),
}

_OPTIONS: Mapping[str, _Check] = {
    "batch": _list_of(_whole(1, LARGEST_BATCH), 2, 2),
    "workspace_mib": _either(_whole(1, 1 << 30)),
    "optimization_level": _either(_whole(0, 5)),
    "hardware_compatibility": _one_of(*COMPATIBILITIES),
    "version_compatible": _one_of(True, False),
    "tf32": _one_of(True, False),
    "compute_capabilities": _list_of(_matches(r"\d{1,3}\.\d{1,3}"), 0, len(COMPUTE_CAPABILITIES)),
}
"""A description of trtexec's engine has some of them alone."""


def complaints_of(facts: Mapping[str, Any]) -> list[str]:
    """What is wrong with a description that has all its keys; empty for nothing."""
    found = [_said(key, facts[key]) for key, check in _FACTS.items() if not check(facts[key])]
    gpu = facts["gpu"]
    if gpu is not None and not (
        isinstance(gpu, dict)
        and gpu.keys() == _GPU.keys()
        and all(check(gpu[key]) for key, check in _GPU.items())
    ):
        found.append(_said("gpu", gpu))
    for key, value in facts["options"].items():
        if key not in _OPTIONS or not _OPTIONS[key](value):
            found.append(_said(f"options.{key[:40]}", value))
    for key, value in facts["metadata"].items():
        if not _text(key) or not _text(value, MAX_TEXT):
            found.append(_said(f"metadata.{key[:40]}", value))
    return found


def _said(key: str, value: Any) -> str:
    return f"{key} is {str(value)[:60]!r}"
