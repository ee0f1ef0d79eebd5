"""What an operator sees: a line of JSON for each request, and figures for Prometheus."""

import contextlib
import json
import logging
import sys
import time
from collections.abc import Iterator
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
)

LOG = logging.getLogger("harmonizer.serve")

PATHS = ("/harmonize", "/predict", "/render")
"""What pictures are sent to; figures call all else "other", so that nobody can make up names."""

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class JsonLines(logging.Formatter):
    """A line of JSON a record; what `extra` has in `fields` stands beside the message."""

    def format(self, record: logging.LogRecord) -> str:
        """One line; a traceback is one of its texts."""
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
            + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=True)


@contextlib.contextmanager
def logging_to_stderr() -> Iterator[None]:
    """Write this service's and its server's log to stderr; logging is put back afterwards."""
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


class Figures:
    """Counts of one service."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        how: dict[str, Any] = {"registry": self.registry, "namespace": "harmonizer"}
        self.requests = Counter("requests", "Requests answered.", ("path", "status"), **how)
        self.seconds = Histogram(
            "request_seconds",
            "From a request's head to the end.",
            ("path",),
            buckets=_SECONDS,
            **how,
        )
        self.taken = Gauge("requests_taken", "Requests that are read, wait or are in work.", **how)
        self.working = Gauge("pictures_in_work", "Pictures that are in work.", **how)
        self.pixels = Counter("pixels", "Pixels of what was drawn or predicted.", **how)

    def finished(self, path: str, status: int, seconds: float) -> None:
        """Count an answer."""
        name = path if path in PATHS else "other"
        self.requests.labels(name, str(status)).inc()
        self.seconds.labels(name).observe(seconds)
