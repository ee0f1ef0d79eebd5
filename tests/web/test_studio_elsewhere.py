"""The studio where less is given: on a host without headers of its own, and in Firefox."""

import io
import re
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import bidi
import numpy as np
import pytest
from browser import THREE_PROCESSORS
from colour_profiles import profile
from PIL import Image
from studio_page import DRAWN, FACTS, READY, served

from export.tolerances import ONNX_FP32_ARGUMENTS
from harmonizer import Arguments, Harmonizer
from harmonizer.frame import CpuFrame
from harmonizer.studio import files_below, make_server

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("plainest_instructions")]


class Plain(SimpleHTTPRequestHandler):
    """A static host that says nothing of isolation."""

    extensions_map = {  # noqa: RUF012 (the base class has it so)
        **SimpleHTTPRequestHandler.extensions_map,
        ".js": "text/javascript",
        ".wasm": "application/wasm",
    }

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def plain(studio_site: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Plain, directory=str(studio_site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


@pytest.fixture(scope="module")
def isolated(studio_site: Path) -> Iterator[str]:
    with served(studio_site) as found:
        yield found


def check_results(pictures: Path, folder: Path, given: bytes, png: bytes) -> None:
    """Saved arguments are those of Python, and the saved picture what the library draws."""
    image, mask = (np.asarray(Image.open(pictures / f"{n}.png")) for n in ("composite", "mask"))
    (folder / "look.json").write_bytes(given)
    found = Arguments.load(folder / "look.json")
    with Harmonizer(backend="cpu") as harmonizer:
        expected = harmonizer.predict(image, mask)
    assert found.filters == expected.filters
    apart = np.abs(found.array() - expected.array()).max()
    assert apart <= ONNX_FP32_ARGUMENTS, apart
    with CpuFrame(image, mask) as frame:
        drawn = frame.draw(frame.measure(found))
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png))), drawn)


@pytest.mark.parametrize("host", ["plain", "isolated"])
def test_threads_are_taken_where_the_host_isolates_the_page(
    browser: Any, request: pytest.FixtureRequest, pictures: Path, tmp_path: Path, host: str
) -> None:
    context = browser.new_context(accept_downloads=True)
    context.add_init_script(f"({THREE_PROCESSORS})()")
    page = context.new_page()
    page.goto(request.getfixturevalue(host))
    page.wait_for_selector(READY)
    found = re.search(r"(\d+) thread", page.evaluate(FACTS))
    assert found is not None
    assert int(found[1]) == (3 if host == "isolated" else 1)
    page.set_input_files("#files", [str(pictures / f"{n}.png") for n in ("composite", "mask")])
    page.wait_for_selector(DRAWN)
    saved = []
    for kind in ("json", "png"):
        page.click("#saving summary")
        with page.expect_download() as waiting:
            page.click(f"[data-save={kind}]")
        saved.append(Path(waiting.value.path()).read_bytes())
    context.close()
    check_results(pictures, tmp_path, saved[0], saved[1])


def test_network_with_another_hash_is_refused(
    browser: Any, studio_site: Path, pictures: Path, tmp_path: Path
) -> None:
    (tmp_path / "hashes.json").write_text('{"harmonizer.onnx": "0123456789abcdef0123"}')
    files = {**files_below(studio_site), "models/hashes.json": tmp_path / "hashes.json"}
    context = browser.new_context()
    page = context.new_page()
    with make_server(files, 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page.goto(f"http://127.0.0.1:{server.server_port}/")
        page.wait_for_selector(READY)
        page.set_input_files("#files", [str(pictures / f"{n}.png") for n in ("composite", "mask")])
        page.wait_for_selector("#message:visible")
        said = page.inner_text("#message")
        server.shutdown()
    context.close()
    assert (
        "harmonizer.onnx must be the network that was shipped, with SHA-256 0123456789abcdef"
        in said
    )


@pytest.mark.slow
@pytest.mark.parametrize("browser", ["firefox"], indirect=True)
@pytest.mark.parametrize("host", ["plain", "isolated"])
def test_whole_run_in_firefox(
    browser: bidi.Firefox, request: pytest.FixtureRequest, pictures: Path, tmp_path: Path, host: str
) -> None:
    page = browser.new_page()
    page.before_loading(THREE_PROCESSORS)
    page.goto(request.getfixturevalue(host))
    page.wait_for_selector(READY)
    found = re.search(r"(\d+) thread", page.evaluate(FACTS))
    assert found is not None
    assert int(found[1]) == (3 if host == "isolated" else 1)
    page.set_input_files("#files", [str(pictures / f"{n}.png") for n in ("composite", "mask")])
    page.wait_for_selector(DRAWN)

    def save(kind: str, name: str) -> bytes:
        page.click("#saving summary")
        page.click(f"[data-save={kind}]")
        return page.downloaded(name)

    given = save("json", "composite.json")
    check_results(pictures, tmp_path, given, save("png", "composite-harmonized.png"))
    drawn = "() => JSON.parse(document.documentElement.dataset.drawn).brightness"
    before = page.evaluate(drawn)
    page.click("#slider-brightness")
    page.press("ArrowRight")
    page.wait_for_function(f"(before) => ({drawn})() !== before", before)
    while page.evaluate("() => !document.querySelector('#undo').disabled"):
        page.click("#undo")
    page.wait_for_function(f"(before) => ({drawn})() === before", before)
    assert page.evaluate("() => document.querySelector('#message').hidden")


@pytest.mark.slow
@pytest.mark.parametrize("browser", ["firefox"], indirect=True)
def test_browser_without_canvases_in_display_p3_says_that_it_converted(
    browser: bidi.Firefox, isolated: str, pictures: Path, tmp_path: Path
) -> None:
    image = Image.open(pictures / "composite.png")
    image.save(tmp_path / "p3.png", icc_profile=profile("Display P3"))
    page = browser.new_page()
    page.goto(isolated)
    page.wait_for_selector(READY)
    page.set_input_files("#files", [str(tmp_path / "p3.png"), str(pictures / "mask.png")])
    page.wait_for_selector(DRAWN)
    said = page.evaluate("() => document.querySelector('#hint').textContent")
    assert "p3.png holds a colour profile, and this browser converted it to sRGB" in said
    assert "Display P3" not in page.evaluate(FACTS)
