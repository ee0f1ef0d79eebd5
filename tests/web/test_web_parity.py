"""What the renderer draws in a browser is what the C++ library draws, byte for byte.

In a worker, as the studio does; with threads where the page is isolated, and without them.
"""

import hashlib
import json
import shutil
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import bidi
import numpy as np
import pytest
import skimage.data
from browser import bundle
from numpy.typing import NDArray
from repository import ROOT

from export.tolerances import ONNX_FP32_ARGUMENTS, ONNX_FP32_SLOPES
from harmonizer import Arguments, Harmonizer
from harmonizer.frame import CpuFrame
from harmonizer.ops import DEFAULT_FILTERS

pytestmark = [
    pytest.mark.long,
    pytest.mark.parametrize(
        "browser",
        ["chromium", pytest.param("firefox", marks=pytest.mark.slow)],
        indirect=True,
        scope="module",
    ),
]

SIZES = ((1, 1), (7, 300), (131, 97), (240, 320))
LARGE = (500, 900)
"""Shared out among three threads when it is measured, too."""
DTYPES = (np.uint8, np.uint16, np.float32)
PROGRAMS = {
    "identity": dict.fromkeys(DEFAULT_FILTERS, 0.0),
    "mild": dict(zip(DEFAULT_FILTERS, (0.12, 0.2, -0.1, 0.25, 0.1, -0.2), strict=True)),
    "strong": dict(zip(DEFAULT_FILTERS, (-0.7, -0.4, 0.63, -0.8, -0.6, 0.9), strict=True)),
    "edge": dict(zip(DEFAULT_FILTERS, (1.0, 1.0, 1.0, 1.0, 1.0, 1.0), strict=True)),
    "others": {"hue": 0.3, "tint": -0.4, "contrast": 0.2, "saturation": 0.5},
}


class Quiet(SimpleHTTPRequestHandler):
    extensions_map = {  # noqa: RUF012 (the base class has it so)
        ".js": "text/javascript",
        ".wasm": "application/wasm",
        ".html": "text/html",
    }

    def __init__(self, *given: Any, isolated: bool, **more: Any) -> None:
        self.isolated = isolated
        super().__init__(*given, **more)

    def end_headers(self) -> None:
        if self.isolated:
            self.send_header("Cross-Origin-Opener-Policy", "same-origin")
            self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module", params=["one thread", "threads"])
def site(
    request: pytest.FixtureRequest, package: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Path]]:
    folder = tmp_path_factory.mktemp("site")
    bundle(ROOT / "runtime/web/src/index.ts", folder / "web.js")
    for name in ("harmonizer.wasm", "harmonizer-threads.wasm", "helper.js"):
        shutil.copy(package / name, folder)
    runtime = ROOT / "runtime/web/node_modules/onnxruntime-web/dist"
    for kind in ("wasm", "mjs"):
        shutil.copy(runtime / f"ort-wasm-simd-threaded.{kind}", folder)
    (folder / "index.html").write_text("<!doctype html><title>parity</title>")
    (folder / "driver.js").write_text(DRIVER)
    handler = partial(Quiet, directory=str(folder), isolated=request.param == "threads")
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/", folder
    server.shutdown()


DRIVER = """
import * as web from "./web.js";
const bytes = async (name) => (await fetch(name)).arrayBuffer();
Object.assign(self, {web, bytes});
self.kinds = {uint8: Uint8Array, uint16: Uint16Array, float32: Float32Array};
const paths = {wasm: new URL("ort-wasm-simd-threaded.wasm", location).href};
if (self.crossOriginIsolated) {
    const helper = () => new Worker("helper.js", {type: "module"});
    const wasm = await bytes("harmonizer-threads.wasm");
    self.library = await web.Library.load(wasm, {count: 3, helper});
    paths.mjs = new URL("ort-wasm-simd-threaded.mjs", location).href;
} else {
    self.library = await web.Library.load(await bytes("harmonizer.wasm"));
}
web.configureRuntime({wasmPaths: paths, threads: library.threads});
onmessage = async ({data}) => {
    try { postMessage({found: await (0, eval)(data.source)(data.given)}); }
    catch (error) { postMessage({error: `${error.name}: ${error.message}`}); }
};
postMessage({found: library.threads});
"""

ASK = """async ({source, given}) => {
    const answer = () => new Promise((done, fail) => {
        worker.onmessage = ({data}) =>
            "error" in data ? fail(new Error(data.error)) : done(data.found);
        worker.onerror = (event) => fail(new Error(event.message));
    });
    if (source === null) {
        window.worker = new Worker("driver.js", {type: "module"});
        return answer();
    }
    worker.postMessage({source, given});
    return answer();
}"""


class Driver:
    """Evaluates functions in a worker of a page."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.threads = self.evaluate(None)

    def evaluate(self, source: str | None, given: object = None) -> Any:
        return self.page.evaluate(ASK, {"source": source, "given": given})


@pytest.fixture(scope="module")
def page(browser: Any, site: tuple[str, Path]) -> Driver:
    opened = browser.new_page()
    opened.goto(site[0])
    return Driver(opened)


def is_firefox(page: Driver) -> bool:
    return isinstance(page.page, bidi.Page)


@pytest.fixture(scope="module")
def isolated(page: Driver) -> bool:
    found: bool = page.page.evaluate("() => crossOriginIsolated")
    return found


def make_picture(height: int, width: int, dtype: Any) -> NDArray[Any]:
    rows = np.resize(skimage.data.astronaut()[40:280, 60:380], (height, width, 3))
    rows = rows.copy()
    rows[0, 0] = (0, 255, 128)
    if dtype == np.uint8:
        return rows
    noise = np.random.default_rng(5).integers(0, 257, rows.shape)
    deep = np.minimum(rows.astype(np.int64) * 257 + noise, 65535).astype(np.uint16)
    return deep if dtype == np.uint16 else (deep / np.float32(65535)).astype(np.float32)


def make_mask(kind: str, height: int, width: int) -> NDArray[Any] | None:
    if kind == "none":
        return None
    ramp = np.linspace(0, 255, height * width).reshape(height, width).astype(np.uint8)
    hard = np.where(ramp > 100, 255, 0).astype(np.uint8)
    if kind == "deep":
        return ramp.astype(np.uint16) * 257
    return hard if kind == "hard" else ramp


CASES = [
    (size, dtype, mask, name, channels)
    for size in SIZES
    for dtype in DTYPES
    for mask, name, channels in (
        *((mask, name, 3) for mask in ("none", "soft") for name in PROGRAMS),
        *(("hard", "mild", 4), ("deep", "strong", 3)),
    )
]
CASES += [(LARGE, dtype, "soft", "strong", 3) for dtype in DTYPES]

DRAW = """async () => {
    const cases = JSON.parse(new TextDecoder().decode(await bytes("cases.json")));
    const data = await bytes("cases.bin");
    self.drawn = [];
    const results = [];
    for (const c of cases) {
        const take = (place) => place &&
            {data: new kinds[place.type](data, place.at, place.count), ...c.size};
        const frame = new web.Frame(library, take(c.image), take(c.mask));
        const plan = frame.measure(c.arguments);
        const drawn = frame.draw(plan);
        frame.close();
        self.drawn.push(drawn);
        const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", drawn));
        results.push({
            sha256: [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join(""),
            statistics: plan.steps.map((step) => step.statistics),
        });
    }
    return results;
}"""


def test_threads_are_there_where_the_page_is_isolated(page: Driver, isolated: bool) -> None:
    assert page.threads == (3 if isolated else 1)


def test_harmonizer_takes_threads_and_ends_them(page: Driver, isolated: bool) -> None:
    found = page.evaluate(
        """async (isolated) => {
            const helper = () => new Worker("helper.js", {type: "module"});
            const name = isolated ? "harmonizer-threads.wasm" : "harmonizer.wasm";
            const more = isolated ? {threads: 2, helper} : {};
            const harmonizer = await web.Harmonizer.load({wasm: await bytes(name), ...more});
            const size = {width: 640, height: 480};
            const image = {data: new Uint8Array(640 * 480 * 3).fill(90), ...size};
            const frame = harmonizer.open(image, null);
            const draw = () => frame.harmonize({...web.identity(), brightness: 0.5})[0];
            const found = [harmonizer.library.threads, draw()];
            await harmonizer.close();
            return [...found, harmonizer.library.threads, draw()];
        }""",
        isolated,
    )
    assert found == [2 if isolated else 1, 180, 1, 180]


def test_threads_are_refused_where_they_cannot_be(page: Driver, isolated: bool) -> None:
    said = page.evaluate(
        """async () => {
            const said = [];
            for (const count of [0, 1.5, 17, 2]) {
                const helper = () => new Worker("missing.js", {type: "module"});
                try {
                    await web.Library.load(await bytes("harmonizer-threads.wasm"), {count, helper});
                    said.push("loaded");
                } catch (error) { said.push(`${error.name}: ${error.message}`); }
            }
            return said;
        }"""
    )
    for line, came in zip(said[:3], ("0", "1.5", "17"), strict=True):
        assert line.startswith("InvalidError: `threads.count` must be a whole number from 1 to 16")
        assert f"got {came}." in line
    rule = "Every thread of the renderer must start" if isolated else "cross-origin isolated"
    assert said[3].startswith("UnsupportedError") and rule in said[3]


@pytest.mark.usefixtures("plainest_instructions")
def test_pixels_equal_those_of_the_library(page: Driver, site: tuple[str, Path]) -> None:
    data, cases, expected = bytearray(), [], []

    def put(array: NDArray[Any]) -> dict[str, object]:
        data.extend(bytes(-len(data) % 8))
        place = {"at": len(data), "count": array.size, "type": str(array.dtype)}
        data.extend(array.tobytes())
        return place

    # Firefox on the machine of README runs WebAssembly a hundred times slower than Chromium does.
    chosen = [case for case in CASES[::7] if case[0] != LARGE] if is_firefox(page) else CASES
    for (height, width), dtype, kind, name, channels in chosen:
        image, mask = make_picture(height, width, dtype), make_mask(kind, height, width)
        filters = tuple(PROGRAMS[name])
        arguments = Arguments.from_mapping(PROGRAMS[name], filters)
        with CpuFrame(image, mask, threads=1) as frame:
            plan = frame.measure(arguments)
            drawn = frame.draw(plan)
        if channels == 4:
            alpha = np.full((height, width, 1), 77, dtype)
            image, drawn = np.dstack([image, alpha]), np.dstack([drawn, alpha])
        expected.append((drawn, [list(step.statistics) for step in plan.steps]))
        cases.append(
            {
                "size": {"width": width, "height": height},
                "image": put(np.ascontiguousarray(image)),
                "mask": None if mask is None else put(mask),
                "arguments": PROGRAMS[name],
            }
        )
    (site[1] / "cases.json").write_text(json.dumps(cases))
    (site[1] / "cases.bin").write_bytes(bytes(data))
    found = page.evaluate(DRAW)
    wrong = []
    for index, (case, (drawn, statistics)) in enumerate(zip(chosen, expected, strict=True)):
        same = found[index]["sha256"] == hashlib.sha256(drawn.tobytes()).hexdigest()
        if not same or found[index]["statistics"] != statistics:
            got = np.array(page.evaluate("(index) => Array.from(self.drawn[index])", index))
            apart = np.abs(got - drawn.ravel().astype(np.float64)).max()
            wrong.append((case, apart, found[index]["statistics"], statistics))
    assert not wrong, (len(wrong), wrong[:6])


def test_memory_is_flat_over_fifty_pictures_and_says_when_it_is_too_little(page: Driver) -> None:
    found = page.evaluate(
        """() => {
            const draw = () => {
                const size = {width: 800, height: 600};
                const frame = new web.Frame(library,
                    {data: new Uint8Array(800 * 600 * 4).fill(90), ...size},
                    {data: new Uint8Array(800 * 600).fill(255), ...size});
                const drawn = frame.harmonize({...web.identity(), brightness: 0.5});
                frame.close();
                return drawn[0];
            };
            draw();
            const before = library.memoryBytes;
            for (let i = 0; i < 50; ++i) draw();
            const after = library.memoryBytes;
            let said = "";
            try { library.reserve(60000, 60000, 4, 1); } catch (error) { said = error.message; }
            let held = [];
            try { for (;;) held.push(library.reserve(20000, 10000, 4, 1)); }
            catch (error) { said += " " + error.message; }
            const count = held.length;
            held.forEach((placed) => library.release(placed));
            return {before, after, said, count, drawn: draw()};
        }"""
    )
    assert found["after"] == found["before"]
    assert found["said"].count("The tab must have memory for a picture of") == 2
    assert found["count"] >= 1 and found["drawn"] == 180


def test_browser_without_simd_is_told(page: Driver) -> None:
    said = page.evaluate(
        """async () => {
            const validate = WebAssembly.validate;
            WebAssembly.validate = () => false;
            try { await web.Library.load(await bytes("harmonizer.wasm")); return "loaded"; }
            catch (error) { return `${error.name}: ${error.message}`; }
            finally { WebAssembly.validate = validate; }
        }"""
    )
    assert said.startswith("UnsupportedError: This browser must run WebAssembly with SIMD")


@pytest.mark.parametrize(
    ("name", "tolerance"),
    [("harmonizer", ONNX_FP32_ARGUMENTS), ("s2crnet", ONNX_FP32_SLOPES)],
)
def test_arguments_agree_with_python(
    page: Driver, site: tuple[str, Path], name: str, tolerance: float
) -> None:
    model = ROOT / "models" / f"{name}.onnx"
    shutil.copy(model, site[1])
    image = np.ascontiguousarray(skimage.data.astronaut()[:400, :500])
    mask = np.zeros((400, 500), np.uint8)
    mask[60:330, 120:400] = 255
    (site[1] / "image.bin").write_bytes(image.tobytes())
    (site[1] / "mask.bin").write_bytes(mask.tobytes())
    found = page.evaluate(
        """async (name) => {
            const predictor = await web.Predictor.load(new Uint8Array(await bytes(name)), name);
            const size = {width: 500, height: 400};
            const take = async (name) => ({data: new Uint8Array(await bytes(name)), ...size});
            const frame = new web.Frame(library, await take("image.bin"), await take("mask.bin"));
            const given = await frame.predict(predictor);
            frame.close();
            return given;
        }""",
        model.name,
    )
    with Harmonizer(str(model), backend="cpu") as harmonizer:
        expected = harmonizer.predict(image, mask)
    assert tuple(found) == expected.filters
    numbers = np.concatenate([np.ravel(value) for value in found.values()])
    apart = np.abs(numbers - expected.array()).max()
    assert apart <= tolerance, apart
