"""Mutations of sound files, the same for the same seed: bits, bytes, numbers, cuts, copies."""

import copy
import json
import random
from collections.abc import Callable
from typing import Any

NUMBERS = (0, 1, 2, 3, 255, 256, 65_535, 65_536, 2**31 - 1, 2**31, 2**32 - 1)

VALUES: tuple[Any, ...] = (
    *(None, True, False, -1, 0, 1, 2, 1e308, -1e308, 0.5, 2**31, 2**63, int("9" * 400)),
    *("", "x" * 300, "\0", "\ud800", [], {}, [[]], [None], {"": 0}, float("nan"), float("inf")),
)


def flip(data: bytearray, dice: random.Random) -> None:
    """One bit."""
    data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)


def overwrite(data: bytearray, dice: random.Random) -> None:
    """A few random bytes."""
    at = dice.randrange(len(data))
    for index in range(at, min(len(data), at + dice.choice((1, 2, 4, 16)))):
        data[index] = dice.randrange(256)


def number(data: bytearray, dice: random.Random) -> None:
    """A number of two or four bytes that is at the end of a range."""
    size, order = dice.choice((2, 4)), dice.choice(("little", "big"))
    at = dice.randrange(max(1, len(data) - size))
    value = dice.choice(NUMBERS) & ((1 << 8 * size) - 1)
    data[at : at + size] = value.to_bytes(size, "little" if order == "little" else "big")


def cut(data: bytearray, dice: random.Random) -> None:
    """The end is missing."""
    del data[dice.randrange(len(data)) :]


def remove(data: bytearray, dice: random.Random) -> None:
    """A piece of the middle is missing."""
    at = dice.randrange(len(data))
    del data[at : at + dice.choice((1, 4, 64))]


def repeat(data: bytearray, dice: random.Random) -> None:
    """A piece comes again."""
    at, size = dice.randrange(len(data)), dice.choice((1, 4, 64))
    data[at:at] = data[at : at + size]


MUTATIONS: tuple[Callable[[bytearray, random.Random], None], ...] = (
    *(flip, flip, overwrite, number, number, cut, remove, repeat),
)


def mutated(seed: bytes, dice: random.Random, head: int | None = None) -> bytes:
    """A sound file with one to three mutations.

    Args:
        seed: The file.
        dice: Decides.
        head: Keep the mutations to so many first bytes, half of the time.
    """
    data = bytearray(seed)
    tail = bytearray()
    if head is not None and head < len(data) and dice.random() < 0.5:
        data, tail = data[:head], data[head:]
    for _ in range(dice.choice((1, 1, 1, 2, 3))):
        if data:
            dice.choice(MUTATIONS)(data, dice)
    return bytes(data + tail)


def mutated_document(document: Any, dice: random.Random) -> bytes:
    """JSON in which a value is another one, a key is missing or new, or the text is damaged."""
    if dice.random() < 0.3:
        return mutated(json.dumps(document).encode(), dice)
    if dice.random() < 0.03:
        return b"[" * dice.choice((10, 100, 100_000))
    changed = json.loads(json.dumps(document))
    for _ in range(dice.choice((1, 1, 2))):
        changed = _changed(changed, dice)
    return json.dumps(changed).encode("utf-8", "surrogatepass")


def _changed(value: Any, dice: random.Random) -> Any:
    if isinstance(value, dict) and value and dice.random() < 0.85:
        key = dice.choice(list(value))
        action = dice.random()
        if action < 0.1:
            del value[key]
        elif action < 0.2:
            value["new"] = copy.deepcopy(dice.choice(VALUES))
        else:
            value[key] = _changed(value[key], dice)
        return value
    if isinstance(value, list) and value and dice.random() < 0.7:
        at = dice.randrange(len(value))
        if dice.random() < 0.2:
            del value[at]
        else:
            value[at] = _changed(value[at], dice)
        return value
    return copy.deepcopy(dice.choice(VALUES))
