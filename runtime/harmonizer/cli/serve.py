"""`harmonizer serve`: the web service."""

import argparse
import contextlib
import errno
import math
import socket
from pathlib import Path

from harmonizer.backends import BACKENDS
from harmonizer.cli import SUCCESS
from harmonizer.cli.options import count, number, refusing_options, thread_count
from harmonizer.contract import LABELS
from harmonizer.systems import available_cores, return_large_blocks
from harmonizer.usage import UsageError

_MOST_JOBS = 4
"""Default limit, as of `harmonizer batch`."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.description = (
        "Answer pictures over HTTP: POST /harmonize, /predict and /render; GET /healthz, /readyz,\n"
        "/metrics and /openapi.json. It ends, with what it has taken done, on Ctrl-C or SIGTERM.\n"
        "docs/serving.md has the requests and answers. Needs harmonizer[serve]."
    )
    parser.add_argument("--host", default="127.0.0.1", help="address; default: this machine alone")
    parser.add_argument("--port", type=int, default=8000, help="0 for any; default 8000")
    parser.add_argument("--model", type=Path, metavar="FILE.onnx", help="predictor to use")
    parser.add_argument("--label", choices=LABELS, help="what foregrounds show, for S2CRNet models")
    parser.add_argument("--backend", choices=BACKENDS, default="auto", help="(%(default)s)")
    parser.add_argument("--threads", type=thread_count, metavar="N", help="threads of a picture")
    group = parser.add_argument_group("limits")
    group.add_argument(
        "--jobs",
        type=thread_count,
        metavar="N",
        help=f"pictures in work at a time; default: cores, up to {_MOST_JOBS}",
    )
    group.add_argument(
        "--queue", type=count, default=16, metavar="N", help="requests at a time (%(default)s)"
    )
    group.add_argument(
        "--max-bytes", type=count, default=64 << 20, metavar="N", help="of a request (%(default)s)"
    )
    group.add_argument(
        "--max-pixels",
        type=count,
        default=50_000_000,
        metavar="N",
        help="of a picture (%(default)s)",
    )
    for name, usual, text in (
        ("head", 10, "within which a request's head must come"),
        ("body", 60, "within which its body must come"),
        ("wait", 60, "that it may wait for its turn"),
        ("grace", 30, "that the service goes on with what it has taken, when it ends"),
    ):
        group.add_argument(
            f"--{name}-seconds",
            type=_seconds,
            default=usual,
            metavar="S",
            help=f"{text} (%(default)s)",
        )
    group.add_argument(
        "--connections", type=count, default=512, metavar="N", help="at a time (%(default)s)"
    )
    group.add_argument(
        "--keys", type=Path, metavar="FILE", help="keys, one a line, of which requests show one"
    )


def run(options: argparse.Namespace) -> int:
    """Serve until a signal."""
    try:
        import uvicorn

        from harmonizer.serve.app import create_app
        from harmonizer.serve.guard import MOST_HEAD_BYTES
        from harmonizer.serve.protocol import PatientProtocol
        from harmonizer.serve.watch import LOG, logging_to_stderr
    except ModuleNotFoundError as error:
        raise UsageError(
            f"`harmonizer serve` needs {error.name}, which is not installed. "
            'Run: pip install "harmonizer[serve]".'
        ) from error
    from harmonizer.harmonizer import Harmonizer
    from harmonizer.serve.keys import read_keys
    from harmonizer.serve.settings import Settings

    cores = available_cores()
    jobs = options.jobs or min(cores, _MOST_JOBS)
    settings = Settings(
        jobs,
        options.queue,
        options.max_bytes,
        options.max_pixels,
        options.head_seconds,
        options.body_seconds,
        options.wait_seconds,
        options.grace_seconds,
        options.connections,
        None if options.keys is None else read_keys(options.keys),
    )
    if settings.queue < jobs:
        raise UsageError(
            f"--queue must be at least --jobs, {jobs}; got {settings.queue}. Raise it, or lower "
            "--jobs."
        )
    return_large_blocks()
    threads = options.threads or max(1, cores // jobs)
    listening = _listen(options.host, options.port)
    with listening, logging_to_stderr(), contextlib.ExitStack() as opened:
        with refusing_options():
            harmonizer = opened.enter_context(
                Harmonizer(options.model, options.backend, threads, label=options.label)
            )
        PatientProtocol.head_seconds = settings.head_seconds
        config = uvicorn.Config(
            create_app(harmonizer, settings),
            http=PatientProtocol,
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            h11_max_incomplete_event_size=MOST_HEAD_BYTES,
            proxy_headers=False,
            limit_concurrency=settings.connections,
            timeout_graceful_shutdown=math.ceil(settings.grace_seconds),
        )
        server = uvicorn.Server(config)
        host, port = listening.getsockname()[:2]
        place = {"host": host, "port": port, "jobs": jobs, "backend": harmonizer.backend}
        LOG.info("listening", extra={"fields": place})
        with contextlib.suppress(KeyboardInterrupt):  # uvicorn repeats the signal that ended it
            server.run(sockets=[listening])
        LOG.info("ended")
    return SUCCESS


def _listen(host: str, port: int) -> socket.socket:
    if not 0 <= port <= 65535:
        raise UsageError(f"--port must lie in 0..65535; got {port}. Name another, or 0 for any.")
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
    except (OSError, UnicodeError) as error:
        raise UsageError(
            f"--host must be a name or an address of this machine; {host} is not known "
            f"({getattr(error, 'strerror', None) or error}). Name 127.0.0.1, or 0.0.0.0 for all."
        ) from error
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        elsewhere = error.errno == errno.EADDRNOTAVAIL
        remedy = "127.0.0.1, or 0.0.0.0 for all" if elsewhere else "another port, or 0 for any"
        raise UsageError(
            f"--host {host} --port {port} must be an address of this machine that is free; "
            f"{error.strerror or error}. Name {remedy}."
        ) from error


def _seconds(text: str) -> float:
    value = number(text)
    if not 0 < value <= 3600:
        raise argparse.ArgumentTypeError(f"must lie above 0 and up to 3600; got {text[:40]!r}")
    return value
