"""The studio: the built page, served on this machine or copied for a static host.

The page is built by build_studio.py. A wheel holds it without the shipped network, which it takes
from the package.
"""

import mimetypes
import shutil
import sys
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from harmonizer.errors import HarmonizerError, StorageError
from harmonizer.predictor import default_model
from harmonizer.storage import make_folder, write_atomically

ADDRESS = "127.0.0.1"
PORT = 8642
NETWORK = "models/harmonizer.onnx"

TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".jpg": "image/jpeg",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".wasm": "application/wasm",
}
"""Browsers are strict about these, and systems' own lists are not."""

POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; "
    "connect-src 'self'; img-src 'self' blob:; style-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)


class StudioError(HarmonizerError, ValueError):
    """The studio is not there, or cannot be served."""


def find_site() -> dict[str, Path]:
    """Every file of the page: its path in an address -> where it lies.

    Raises:
        StudioError: If this installation has none.
    """
    package = Path(__file__).parent
    places = (package / "assets" / "studio", package.parents[1] / "build" / "studio")
    for place in places:
        if (place / "index.html").is_file():
            return {NETWORK: default_model(), **files_below(place)}
    raise StudioError(
        "this installation must hold the built page to serve it; it has none. Run `make studio` in "
        "the source tree (it needs Node.js), or install a wheel that was built with Node.js."
    )


def files_below(folder: Path) -> dict[str, Path]:
    """Every file below a folder: its path from there -> the file."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path for path in files}


def export_site(folder: Path) -> int:
    """Copy the page to a folder, which any static host can serve under any path.

    Args:
        folder: New, or empty.

    Returns:
        How many files were written.

    Raises:
        StudioError: If there is no page.
        StorageError: If the folder holds something, or cannot be written.
    """
    site = find_site()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise StorageError(
            f"{folder} must be a new or an empty folder; it is not. Name another one, or remove it."
        )
    for name, path in site.items():
        target = folder / name
        make_folder(target.parent)
        write_atomically(target, path.read_bytes())
    return len(site)


class _Handler(BaseHTTPRequestHandler):
    """Answers with the page's files and nothing else."""

    protocol_version = "HTTP/1.1"
    site: dict[str, Path]
    isolated: bool

    def do_GET(self) -> None:
        """Send a file."""
        self._answer(True)

    def do_HEAD(self) -> None:
        """Send a file's headers."""
        self._answer(False)

    def _answer(self, with_body: bool) -> None:
        name = unquote(urlsplit(self.path).path).removeprefix("/")
        name += "index.html" if name == "" or name.endswith("/") else ""
        path = self.site.get(name)
        if path is None or not self._is_local():
            self.send_error(404 if path is None else 421)
            return
        status = path.stat()
        tag = f'"{status.st_mtime_ns:x}-{status.st_size:x}"'
        if self.headers.get("If-None-Match") == tag:
            self.send_response(304)
            self.send_header("ETag", tag)
            self.end_headers()
            return
        suffix = PurePosixPath(name).suffix
        kind = TYPES.get(suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(status.st_size))
        self.send_header("Cache-Control", "no-cache")
        self.send_header("ETag", tag)
        self.send_header("Content-Security-Policy", POLICY)
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        if self.isolated:  # then the browser lets the page share memory among threads
            self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        if with_body:
            with path.open("rb") as file:
                shutil.copyfileobj(file, self.wfile)

    def _is_local(self) -> bool:
        """Whether the page was asked for by its own name: others may lead here, too."""
        host = (self.headers.get("Host") or "").rsplit(":", 1)[0]
        return host in (ADDRESS, "localhost")

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: a person reads the terminal."""


class _Server(ThreadingHTTPServer):
    """A browser that goes away in the middle of a file is nothing to report."""

    def handle_error(self, request: object, client_address: object) -> None:
        """Print what went wrong, unless the connection is gone."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


def make_server(site: dict[str, Path], port: int, isolated: bool = True) -> ThreadingHTTPServer:
    """A server of these files, on this machine alone.

    Args:
        site: As `find_site` gives it.
        port: 0 for a free one.
        isolated: Whether the page is cross-origin isolated, and may draw with threads.

    Raises:
        StudioError: If the port is taken.
    """
    handler = type("Handler", (_Handler,), {"site": site, "isolated": isolated})
    try:
        return _Server((ADDRESS, port), handler)
    except (OSError, OverflowError) as error:
        raise StudioError(
            f"`port` must be free, 0 to 65535; {port} is not ({error}). Choose another one, or 0 "
            "for any."
        ) from error


def serve(port: int, started: Callable[[str], None]) -> None:
    """Serve the page until Ctrl-C.

    Args:
        port: As in `make_server`.
        started: Called with the address.

    Raises:
        StudioError: If there is no page, or the port is taken.
    """
    with make_server(find_site(), port) as server:
        started(f"http://{ADDRESS}:{server.server_port}/")
        server.serve_forever()
