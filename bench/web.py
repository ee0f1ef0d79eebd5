"""The benchmark of the studio: drawing in the page beside the native library, and waiting.

    python bench/web.py --output bench/results/web.json

In one run: Chromium without a window draws a 1080p picture in the page's worker,
and the C++ library draws the same with one thread, in turns. Then a person's waiting: from files
dropped to the result on the screen, from a slider's move to the picture, from an empty browser to
the first result. All of it in a page as a plain static host serves it, with one thread, and in one
that is cross-origin isolated, with a thread for each processor.
"""

import shutil
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bench.results_file import check_output, show, write_result
from harmonizer import Arguments
from harmonizer.bench import judge
from harmonizer.frame import CpuFrame
from harmonizer.latency import Measurement, picture, rectangle, summarize
from harmonizer.studio import find_site, make_server
from harmonizer.usage import says_errors, tool_parser

WIDTH, HEIGHT = 1920, 1080
ROUNDS, DROPS, MOVES = 21, 7, 21
LOOK = dict(zip(Arguments.identity(), (0.1, 0.2, -0.1, 0.2, 0.1, -0.2), strict=True))

DRAW = "studio: draw 1920x1080 in the page, whole picture, ms"
MEASURE = "studio: measure 1920x1080 in the page, ms"
PREDICT = "studio: predict in the page, Harmonizer, ms"
NATIVE = "studio: the same by the native library, 1 thread, ms"
SLIDER = "studio: from slider to picture, 1920x1080, ms"
DROP = "studio: from drop to result, 1920x1080, ms"
FIRST = "studio: first result of an empty browser, s"
SCRIPTS = "studio: scripts, kB"
MODULE = "studio: renderer's WebAssembly, kB"
ISOLATED = ", isolated page"
TARGETS = {
    DRAW: ("at most", 40.0),
    SLIDER: ("at most", 50.0),
    DROP: ("at most", 1000.0),
    FIRST: ("at most", 3.0),
    SCRIPTS: ("at most", 250.0),
    MODULE: ("at most", 1000.0),
}
"""What the project set itself; the picture of the slider's is drawn at preview size."""

CALL = """() => {
    window.worker = new Worker("worker.js", {type: "module"});
    window.calls = 0;
    window.call = (operation, given) => new Promise((done, fail) => {
        const id = ++window.calls;
        const answered = ({data}) => {
            if (data.id !== id) return;
            worker.removeEventListener("message", answered);
            "error" in data ? fail(new Error(data.error)) : done(data.result);
        };
        worker.addEventListener("message", answered);
        worker.postMessage({id, operation, given});
    });
}"""

OPEN = """async (name) => {
    const {threads} = await call("load", {
        base: location.href, processors: navigator.hardwareConcurrency
    });
    await call("open", {file: await (await fetch(name)).blob(), name});
    await call("mask", {data: new Uint8Array(1920 * 1080).fill(255)});
    return threads;
}"""

PREDICTED = """async () => (await call("predict", {model: "harmonizer"})).milliseconds"""

MOVE = """(value) => new Promise((done) => {
    const slider = document.querySelector("#slider-brightness"), root = document.documentElement;
    const begun = performance.now();
    new MutationObserver((_, observer) => {
        observer.disconnect();
        requestAnimationFrame(() => done(performance.now() - begun));
    }).observe(root, {attributeFilter: ["data-drawn"]});
    slider.value = value;
    slider.dispatchEvent(new Event("input"));
})"""


def measure_drawing(
    page: Any, image: NDArray[Any], mask: NDArray[Any], file: Path
) -> list[Measurement]:
    """The page's worker and the library in turns; measurements of both, and of predicting."""
    page.evaluate(CALL)
    kind = f"page, threads: {page.evaluate(OPEN, file.name)}"
    arguments = Arguments.from_mapping(LOOK)
    ours: dict[str, list[float]] = {"measure": [], "draw": []}
    native: dict[str, list[float]] = {"measure": [], "draw": []}
    out = np.empty_like(image)
    with CpuFrame(image, mask, threads=1) as frame:
        for _ in range(ROUNDS):
            found = page.evaluate("(given) => call('measure', {arguments: given})", LOOK)
            for name in ours:
                ours[name].append(found[name])
            begun = time.perf_counter()
            plan = frame.measure(arguments)
            measured = time.perf_counter()
            frame.draw(plan, out)
            native["measure"].append((measured - begun) * 1000)
            native["draw"].append((time.perf_counter() - measured) * 1000)
    predicted = [page.evaluate(PREDICTED) for _ in range(DROPS)]
    return [
        *(summarize(f"{kind}: {name}", image, 1.0, times[3:]) for name, times in ours.items()),
        *(summarize(f"native: {name}", image, 1.0, times[3:]) for name, times in native.items()),
        summarize(f"{kind}: predict", image, 1.0, predicted[1:]),
    ]


def measure_waiting(page: Any, files: list[str]) -> tuple[list[float], list[float]]:
    """Milliseconds from drops to results, and from slider moves to pictures."""
    drops = []
    for _ in range(DROPS):
        page.evaluate("delete document.documentElement.dataset.drawn")
        begun = time.perf_counter()
        page.set_input_files("#files", files)
        page.wait_for_selector("html[data-drawn]", timeout=120_000)
        drops.append((time.perf_counter() - begun) * 1000)
    page.wait_for_timeout(1000)
    values = [str(round(-0.5 + index * 0.05, 3)) for index in range(MOVES)]
    return drops, [page.evaluate(MOVE, value) for value in values]


def measure_first(browser: Any, address: str) -> float:
    """Seconds from an empty browser's first request to the example's result."""
    context = browser.new_context()
    page = context.new_page()
    begun = time.perf_counter()
    page.goto(address)
    page.wait_for_selector("html[data-ready]")
    page.click("#example-first")
    page.wait_for_selector("html[data-drawn]", timeout=120_000)
    seconds = time.perf_counter() - begun
    context.close()
    return seconds


def measure_page(browser: Any, isolated: bool) -> tuple[list[Measurement], list[dict[str, object]]]:
    """All measurements in one kind of page, and the figures made of them."""
    image, mask = picture(WIDTH, HEIGHT), rectangle(WIDTH, HEIGHT, 1.0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        Image.fromarray(image).save(folder / "composite.png")
        Image.fromarray(rectangle(WIDTH, HEIGHT, 0.25)).save(folder / "mask.png")
        files = {path.name: path for path in folder.iterdir()}
        with make_server({**find_site(), **files}, 0, isolated) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            address = f"http://127.0.0.1:{server.server_port}/"
            first = [measure_first(browser, address) for _ in range(3)]
            page = browser.new_page()
            page.goto(address)
            page.wait_for_selector("html[data-ready]")
            drops, moves = measure_waiting(page, [str(path) for path in files.values()])
            page.close()
            page = browser.new_page()
            page.goto(address)
            drawn = measure_drawing(page, image, mask, files["composite.png"])
            page.close()
            server.shutdown()
    measured, draw, _, native, predicted = (row.p50_ms for row in drawn)
    figures = {
        DRAW: draw,
        MEASURE: measured,
        NATIVE: native,
        PREDICT: predicted,
        SLIDER: statistics.median(moves),
        DROP: statistics.median(drops[1:]),
        FIRST: statistics.median(first),
    }
    ending = ISOLATED if isolated else ""
    waited = [
        summarize(f"page{ending}: drop to result", image, 0.25, drops[1:]),
        summarize(f"page{ending}: slider to picture", image, 0.25, moves),
    ]
    found = [judge(name + ending, value, targets(ending)) for name, value in figures.items()]
    return [*drawn, *waited], found


def targets(ending: str) -> dict[str, tuple[str, float]]:
    """`TARGETS` under the names of one kind of page."""
    return {name + ending: target for name, target in TARGETS.items()}


def run(browser: Any) -> tuple[list[Measurement], list[dict[str, object]]]:
    """All measurements, and the figures made of them."""
    measurements, figures = measure_page(browser, isolated=False)
    more, others = measure_page(browser, isolated=True)
    site = find_site()
    scripts = sum(path.stat().st_size for path in site.values() if path.suffix in {".js", ".mjs"})
    sizes = [
        judge(SCRIPTS, scripts / 1000, TARGETS),
        judge(MODULE, site["harmonizer.wasm"].stat().st_size / 1000, TARGETS),
    ]
    return [*measurements, *more], [*figures, *others, *sizes]


@says_errors("web")
def main() -> int:
    """Measure, print, write."""
    parser = tool_parser(__doc__)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    check_output(options.output)
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        print("error: measuring needs Chromium: apt-get install chromium", file=sys.stderr)
        return 1
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        measurements, figures = run(browser)
        version = f"Chromium {browser.version}"
        browser.close()
    show(write_result(options.output, 1, measurements, figures, browser=version))
    return 0


if __name__ == "__main__":
    sys.exit(main())
