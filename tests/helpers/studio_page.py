"""What a person does with the studio's page, for tests."""

import io
import json
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from browser import THREE_PROCESSORS
from numpy.typing import NDArray
from PIL import Image

from harmonizer.studio import files_below, make_server

READY = "html[data-ready]"
DRAWN = "html[data-drawn]"
FACTS = "() => document.querySelector('#facts').textContent"


@contextmanager
def served(site: Path, below: str = "") -> Iterator[str]:
    """The site as `harmonizer studio` serves it, under a path; its address."""
    files = {f"{below}{name}": path for name, path in files_below(site).items()}
    with make_server(files, 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/{below}"
        server.shutdown()


@contextmanager
def open_studio(browser: Any, address: str, **more: Any) -> Iterator[Any]:
    """The page, loaded, with three processors; its errors and whom it asked are noted."""
    size = {"width": 1200, "height": 800}
    context = browser.new_context(**{"viewport": size, "accept_downloads": True, **more})
    context.add_init_script(f"({THREE_PROCESSORS})()")
    page = context.new_page()
    page.faults, page.hosts = [], set()
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    page.on("console", lambda said: said.type == "error" and page.faults.append(said.text))
    page.on("request", lambda asked: page.hosts.add(asked.url.split("/")[2]))
    page.goto(address)
    page.wait_for_selector(READY)
    yield page
    context.close()


def drop(page: Any, *files: Path, drawn: bool = True) -> None:
    page.evaluate("delete document.documentElement.dataset.drawn")
    page.set_input_files("#files", [str(file) for file in files])
    if drawn:
        page.wait_for_selector(DRAWN)


def drawn_arguments(page: Any) -> dict[str, float]:
    found: dict[str, float] = json.loads(page.get_attribute("html", "data-drawn"))
    return found


def wait_for_arguments(page: Any, given: dict[str, float]) -> None:
    page.wait_for_function(
        """(given) => Object.entries(JSON.parse(document.documentElement.dataset.drawn))
        .every(([name, value]) => value === given[name])""",
        arg=given,
    )


def download(page: Any, kind: str) -> bytes:
    page.click("#saving summary")
    with page.expect_download() as waiting:
        page.click(f"[data-save={kind}]")
    return Path(waiting.value.path()).read_bytes()


def read_rgb(data: bytes) -> NDArray[np.uint8]:
    """The values of a picture's file, whatever their colours."""
    return np.asarray(Image.open(io.BytesIO(data)))


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")


def write_huge(path: Path, width: int, height: int, *chunks: bytes) -> None:
    """A black PNG of one bit a pixel, small as a file; with more chunks after its header."""
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes((1, 0, 0, 0, 0))
    data = zlib.compress(bytes(height * (1 + (width + 7) // 8)), 1)
    ends = png_chunk(b"IDAT", data) + png_chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + b"".join(chunks) + ends)
