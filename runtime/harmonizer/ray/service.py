"""The service of `harmonizer serve` on Ray Serve: the same application, in replicas.

    serve run harmonizer.ray.service:build replicas=2 queue=8
    serve build harmonizer.ray.service:app -o serve.yaml     # with what is usual

A replica is a process with a network; what docs/serving.md says of limits holds for each. Slow
heads and idle connections are for Ray's proxy to end.
"""

import logging
import sys
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from ray import serve
from ray.serve import Application

from harmonizer.harmonizer import Harmonizer
from harmonizer.serve.app import create_app
from harmonizer.serve.keys import read_keys
from harmonizer.serve.settings import Settings
from harmonizer.serve.watch import LOG, JsonLines

OPENING = ("model", "backend", "threads", "label")
"""What a replica's `Harmonizer` is made with."""

LIMITS = tuple(
    item.name
    for item in fields(Settings)
    if item.name not in ("keys", "head_seconds", "grace_seconds", "connections")
)
"""Of `Settings`; the others are the proxy's and the cluster's."""

_SPARE = 16
"""Requests that reach a replica beyond its queue, to be answered with 429."""


def build(words: Mapping[str, Any]) -> Application:
    """The application, for `serve run` and a config's `import_path`.

    Args:
        words: Of `OPENING`, `LIMITS`, `keys`, the file of keys, which each node must have, and
            `replicas`, their number; a config may say that, too, and scale by itself. Numbers may
            be text, as a command line has them.

    Raises:
        ValueError: If a word is unknown, or a limit is no number.
    """
    known = (*OPENING, *LIMITS, "keys", "replicas")
    strangers = [name for name in words if name not in known]
    if strangers:
        raise ValueError(f"args must be of {', '.join(known)}; got {', '.join(strangers)}.")
    opening = {name: words[name] for name in OPENING if name in words}
    opening["threads"] = int(_number("threads", words.get("threads", 1)))
    limits = replace(Settings(), **{n: _number(n, words[n]) for n in LIMITS if n in words})
    if limits.queue < limits.jobs:
        raise ValueError("`queue` must be at least `jobs`. Raise it.")
    keys = words.get("keys")

    def application() -> Any:
        if not any(isinstance(handler.formatter, JsonLines) for handler in LOG.handlers):
            handler = logging.StreamHandler(sys.stderr)
            handler.setFormatter(JsonLines())
            LOG.addHandler(handler)
            LOG.setLevel(logging.INFO)
            LOG.propagate = False
        settings = replace(limits, keys=None if keys is None else read_keys(Path(keys)))
        return create_app(Harmonizer(**opening), settings)

    deployment = serve.deployment(serve.ingress(application)())
    return deployment.options(
        name="Harmonizer",
        num_replicas=int(_number("replicas", words.get("replicas", 1))),
        max_ongoing_requests=limits.queue + _SPARE,
        graceful_shutdown_timeout_s=limits.grace_seconds,
    ).bind()


def _number(name: str, value: Any) -> Any:
    kind = float if name.endswith("seconds") else int
    try:
        number = kind(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"`{name}` must be a number; got {value!r}.") from error
    if number <= 0:
        raise ValueError(f"`{name}` must lie above 0; got {value!r}.")
    return number


app = build({})
"""With what is usual: `serve build` wants an application, and no function that makes one."""
