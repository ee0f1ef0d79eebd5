"""The real service, on a port of this machine."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from harmonizer.client import Client


class Service:
    """`harmonizer serve` in a process of its own.

    Args:
        folder: Where it runs.
        words: More of its command line.
        under: What starts Python; what is printed then goes to the file `stdout`.
    """

    def __init__(self, folder: Path, *words: str, under: Sequence[str] = ()) -> None:
        command = [*under, sys.executable, "-m", "harmonizer", "serve", "--port", "0", *words]
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            stdout=(folder / "stdout").open("w") if under else None,
            stderr=subprocess.PIPE,
            text=True,
            env=dict(os.environ),
        )
        self.lines: list[dict[str, Any]] = []
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(json.loads(line))
            if self.lines[-1]["message"] == "Application startup complete.":
                break
        else:
            raise AssertionError("the service has not begun")
        self.port = next(line["port"] for line in self.lines if line["message"] == "listening")
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        self.lines += map(json.loads, self.process.stderr)

    def line(self, **fields: object) -> dict[str, Any]:
        """The log's line that has these fields; it may still be on its way."""
        end = time.monotonic() + 30
        while True:
            for line in list(self.lines):
                if fields.items() <= line.items():
                    return line
            assert time.monotonic() < end, fields
            time.sleep(0.05)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self, **settings: Any) -> Client:
        return Client(self.url, **settings)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)

    def send(self, data: bytes) -> tuple[int, dict[str, str], bytes]:
        """A connection of its own that sends bytes and reads to the end; status 0 for no answer."""
        with self.connect() as connection:
            with contextlib.suppress(OSError):
                connection.sendall(data)
            return read_answer(connection)

    def ask(
        self, method: str, path: str, body: bytes = b"", **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """A whole request."""
        return self.send(head(method, path, len(body), **headers) + body)

    def figure(self, name: str) -> float:
        """One of /metrics."""
        text = self.ask("GET", "/metrics")[2].decode()
        return next(float(x.split()[1]) for x in text.splitlines() if x.startswith(f"{name} "))

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; the exit code."""
        self.process.send_signal(number)
        code = self.process.wait(60)
        self._reader.join()
        return code


def head(method: str, path: str, length: int, **headers: str) -> bytes:
    """A request's head; Content-Type and the like by their names with underscores."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", "Connection: close"]
    if length:
        lines.append(f"Content-Length: {length}")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def read_answer(connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of an answer after which the connection ends."""
    data = b""
    with contextlib.suppress(ConnectionError):
        while chunk := connection.recv(1 << 16):
            data += chunk
    start, _, body = data.partition(b"\r\n\r\n")
    first, *rest = start.decode("latin-1").split("\r\n")
    headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in rest)}
    return int(first.split()[1]) if first else 0, headers, body


@contextlib.contextmanager
def serving(folder: Path, *words: str, under: Sequence[str] = ()) -> Iterator[Service]:
    """The service, stopped at the end."""
    service = Service(folder, *words, under=under)
    try:
        yield service
    finally:
        if service.process.poll() is None:
            service.stop()
