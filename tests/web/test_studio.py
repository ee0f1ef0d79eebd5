"""The studio, driven as a person would, in a real browser."""

import io
import json
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import skimage.data
from browser import THREE_PROCESSORS
from numpy.typing import NDArray
from PIL import Image, ImageCms
from repository import ROOT

from export.tolerances import ONNX_FP32_ARGUMENTS
from harmonizer import Arguments, Harmonizer, _native
from harmonizer.frame import CpuFrame
from harmonizer.images.code_points import by_code
from harmonizer.images.files import load_photo
from harmonizer.lut import build_lattice, format_cube
from harmonizer.renderer import CpuRenderer
from harmonizer.studio import files_below, make_server

pytestmark = pytest.mark.long

DRAWN = "html[data-drawn]"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from browser import need_node

    need_node()
    from build_studio import build_site

    return build_site(tmp_path_factory.mktemp("site") / "studio")


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    # Under a path, as a static host may have it.
    with make_server(
        {f"a/b/{name}": path for name, path in files_below(site).items()}, 0
    ) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/a/b/index.html"
        server.shutdown()


@pytest.fixture(scope="module")
def opened(browser: Any, address: str) -> Iterator[Any]:
    """One page for the file: loading the network takes longer than a test."""
    context = browser.new_context(viewport={"width": 1200, "height": 800}, accept_downloads=True)
    context.add_init_script(f"({THREE_PROCESSORS})()")
    page = context.new_page()
    page.faults, page.hosts = [], set()
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    page.on("console", lambda said: said.type == "error" and page.faults.append(said.text))
    page.on("request", lambda asked: page.hosts.add(asked.url.split("/")[2]))
    page.goto(address)
    page.wait_for_selector("html[data-ready]")
    yield page
    context.close()


@pytest.fixture
def page(opened: Any) -> Iterator[Any]:
    yield opened
    assert not opened.faults, opened.faults


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    image = np.ascontiguousarray(skimage.data.astronaut()[:300, :400])
    mask = np.zeros((300, 400), np.uint8)
    mask[40:260, 120:330] = 255
    mask[40:260, 110:120] = 100

    def save(array: NDArray[Any], name: str, **more: Any) -> None:
        Image.fromarray(array).save(folder / name, **more)

    save(image, "composite.png")
    save(mask, "mask.png")
    save(mask[:200], "mask-small.png")
    save(np.dstack([image, mask]), "cutout.png")
    save(skimage.data.rocket(), "background.png")
    turned = Image.Exif()
    turned[0x0112] = 6
    save(image, "turned.jpg", exif=turned)
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0" + bytes(200))
    (folder / "foreign.onnx").write_bytes(b"\x08\x0a\x3a\x00")
    model = (ROOT / "models/s2crnet.onnx").read_bytes()
    (folder / "infinite.onnx").write_bytes(with_infinite_weight(model))
    wide = display_p3()
    vivid = image // 2 + 64
    vivid[:30, :100] = (255, 0, 0)
    save(vivid, "wide.png", icc_profile=wide)
    save(image // 2 + 64, "narrow.png", icc_profile=wide)
    (folder / "noise.onnx").write_bytes(b"\xff" * 500)
    (folder / "twice.json").write_text('{"brightness": 0.1, "brightness": 0.2}')
    (folder / "beyond.json").write_text('{"brightness": 3}')
    return folder


def display_p3() -> bytes:
    """An ICC profile of Display P3."""
    stated = by_code(12, 13, "a test")
    assert stated is not None and stated.profile is not None
    return stated.profile


def with_infinite_weight(model: bytes) -> bytes:
    """The model with one number of its largest tensor infinite."""
    weights = [
        found
        for tensor in onnx.load_model_from_string(model).graph.initializer
        if len(found := tensor.raw_data) > 4096
    ]
    at = model.index(max(weights, key=len)) + 400
    return model[:at] + np.float32(np.inf).tobytes() + model[at + 4 :]


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


@pytest.fixture
def plainest_instructions() -> Iterator[None]:
    """Those without a fused multiply-add, which WebAssembly has not either."""
    if _native.isa().startswith("x86-64"):
        _native.set_isa("x86-64")
    yield
    _native.set_isa(None)


@pytest.fixture
def composite(page: Any, pictures: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    drop(page, pictures / "composite.png", pictures / "mask.png")
    image, mask = (np.asarray(Image.open(pictures / f"{n}.png")) for n in ("composite", "mask"))
    return image, mask


@pytest.mark.usefixtures("plainest_instructions")
def test_drop_predicts_what_python_predicts_and_saves_what_the_library_draws(
    page: Any, composite: tuple[NDArray[np.uint8], NDArray[np.uint8]], tmp_path: Path
) -> None:
    image, mask = composite
    with Harmonizer(backend="cpu") as harmonizer:
        expected = harmonizer.predict(image, mask)
    given = drawn_arguments(page)
    assert tuple(given) == expected.filters
    apart = np.abs(np.array(list(given.values())) - expected.array()).max()
    assert apart <= ONNX_FP32_ARGUMENTS, apart
    (tmp_path / "look.json").write_bytes(download(page, "json"))
    saved = Arguments.load(tmp_path / "look.json")
    assert dict(saved) == given
    with CpuFrame(image, mask) as frame:
        plan = frame.measure(saved)
        drawn = frame.draw(plan)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(download(page, "png")))), drawn)
    (tmp_path / "deep.png").write_bytes(download(page, "png16"))
    with CpuFrame(image.astype(np.uint16) * 257, mask) as frame:
        deep = frame.draw(frame.measure(saved))
    assert np.array_equal(load_photo(tmp_path / "deep.png").pixels, deep)
    lines = format_cube(build_lattice(CpuRenderer(), plan, 33), "composite").splitlines()
    assert download(page, "cube").splitlines() == lines
    jpeg = np.asarray(Image.open(io.BytesIO(download(page, "jpeg"))), np.int16)
    assert np.abs(jpeg - drawn).mean() < 4


@pytest.mark.usefixtures("composite")
def test_keyboard_moves_a_slider_undoes_and_resets(page: Any) -> None:
    before = drawn_arguments(page)
    page.focus("#slider-brightness")
    for _ in range(10):
        page.keyboard.press("ArrowRight")
    moved = float(page.input_value("#slider-brightness"))
    assert moved > before["brightness"] + 0.04
    page.wait_for_function(
        "(value) => JSON.parse(document.documentElement.dataset.drawn).brightness === value",
        arg=moved,
    )
    spoken = page.get_attribute("#slider-brightness", "aria-valuetext")
    assert "predicted" in spoken
    for _ in range(10):
        page.keyboard.press("Control+z")
    wait_for_arguments(page, before)
    page.keyboard.press("ArrowRight")
    page.click("[aria-label='Reset brightness']")
    wait_for_arguments(page, before)
    page.focus("#split")
    at = float(page.get_attribute("#split", "aria-valuenow"))
    page.keyboard.press("ArrowRight")
    page.wait_for_function(
        "(at) => Number(document.querySelector('#split').ariaValueNow) > at", arg=at
    )


@pytest.mark.usefixtures("composite")
def test_strength_nought_draws_the_composite(page: Any, pictures: Path) -> None:
    page.evaluate(
        """() => { const s = document.querySelector("#slider-strength"); s.value = 0;
        for (const kind of ["input", "change"]) s.dispatchEvent(new Event(kind)); }"""
    )
    png = np.asarray(Image.open(io.BytesIO(download(page, "png"))))
    assert np.array_equal(png, np.asarray(Image.open(pictures / "composite.png")))


@pytest.mark.usefixtures("composite")
def test_arguments_of_a_file_and_of_the_address_are_drawn(page: Any, tmp_path: Path) -> None:
    look = Arguments.from_mapping({**dict(Arguments.identity()), "shadow": 0.25})
    look.save(tmp_path / "look.json")
    drop(page, tmp_path / "look.json")
    assert drawn_arguments(page) == dict(look)
    page.evaluate("delete document.documentElement.dataset.drawn; location.hash = 'contrast=-0.3'")
    page.wait_for_selector(DRAWN)
    assert drawn_arguments(page)["contrast"] == -0.3
    page.evaluate("history.replaceState(null, '', ' ')")


@pytest.mark.usefixtures("composite")
def test_second_network_draws_curves(page: Any, tmp_path: Path) -> None:
    page.evaluate("delete document.documentElement.dataset.drawn")
    page.check("[name=model][value=s2crnet]", force=True)
    page.wait_for_selector(DRAWN)
    (tmp_path / "look.json").write_bytes(download(page, "json"))
    assert Arguments.load(tmp_path / "look.json").filters == ("piecewise_curve",)
    page.evaluate("delete document.documentElement.dataset.drawn")
    page.check("[name=model][value=harmonizer]", force=True)
    page.wait_for_selector(DRAWN)


def test_cut_out_is_placed_by_keyboard(page: Any, pictures: Path) -> None:
    drop(page, pictures / "cutout.png", pictures / "background.png")
    before = np.asarray(Image.open(io.BytesIO(download(page, "png"))))
    assert before.shape == (427, 640, 3)
    page.keyboard.press("p")
    page.focus("#canvas")
    for key in ("ArrowLeft", "Shift+ArrowLeft", "]", "-"):
        page.keyboard.press(key)
    page.evaluate("delete document.documentElement.dataset.drawn")
    page.click("#place-done")
    page.wait_for_selector(DRAWN)
    after = np.asarray(Image.open(io.BytesIO(download(page, "png"))))
    assert not np.array_equal(before, after)
    assert np.array_equal(after[:60], skimage.data.rocket()[:60])


def test_mask_is_painted(page: Any, pictures: Path) -> None:
    drop(page, pictures / "background.png", drawn=False)
    page.wait_for_selector("#brush:visible")
    page.focus("#canvas")
    page.keyboard.press("Space")
    page.click("#brush-done")
    page.wait_for_selector(DRAWN)
    drawn = np.asarray(Image.open(io.BytesIO(download(page, "png"))))
    changed = (drawn != skimage.data.rocket()).any(axis=2)
    assert changed.any() and not changed[:100].any() and not changed[:, :200].any()


def test_loupe_shows_pixels_of_the_whole_picture(page: Any, pictures: Path) -> None:
    drop(page, pictures / "composite.png", pictures / "mask.png")
    page.keyboard.press("l")
    page.wait_for_function("() => document.querySelector('#glass').width === 280")
    page.keyboard.press("ArrowLeft")
    shown = page.evaluate(
        """() => new Promise((done) => setTimeout(() => done(Array.from(document
        .querySelector("#glass").getContext("2d").getImageData(0, 0, 1, 1).data)), 500))"""
    )
    # 100 % at the left edge of the glass: the composite, 20 pixels left of the middle.
    image = np.asarray(Image.open(pictures / "composite.png"))
    assert shown[:3] == image[10, 200 - 20 - 140].tolist()
    page.keyboard.press("l")


def test_turned_photograph_stands_upright(page: Any, pictures: Path) -> None:
    drop(page, pictures / "turned.jpg", drawn=False)
    page.wait_for_function("() => /300 . 400/.test(document.querySelector('#facts').textContent)")
    page.click("#paint")


def test_colours_beyond_srgb_are_said_and_saved_as_srgb(page: Any, pictures: Path) -> None:
    drop(page, pictures / "wide.png", pictures / "mask.png")
    said = page.inner_text("#hint")
    assert "wide.png has colours beyond sRGB (2.5 %" in said and "The command line keeps" in said
    png = download(page, "png")
    assert b"sRGB" in png[:60] and b"iCCP" not in png
    # Nothing is drawn there: what the command line's conversion to sRGB makes of it.
    saved = np.asarray(Image.open(io.BytesIO(png)), np.int16)
    photo = Image.open(pictures / "wide.png")
    source = ImageCms.ImageCmsProfile(io.BytesIO(photo.info["icc_profile"]))
    converted = ImageCms.profileToProfile(photo, source, ImageCms.createProfile("sRGB"))
    assert np.abs(saved - np.asarray(converted, np.int16))[:, :100].max() <= 1
    drop(page, pictures / "narrow.png", pictures / "mask.png")
    assert not page.is_visible("#hint")


@pytest.mark.slow
def test_memory_is_flat_over_fifty_pictures(page: Any, tmp_path: Path) -> None:
    image = np.asarray(Image.fromarray(skimage.data.astronaut()).resize((1920, 1080)))
    mask = np.zeros((1080, 1920), np.uint8)
    mask[200:900, 500:1400] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    protocol = page.context.new_cdp_session(page)
    found = []
    for index in range(50):
        Image.fromarray(np.roll(image, index * 7, axis=1)).save(tmp_path / "composite.jpg")
        drop(page, tmp_path / "composite.jpg", tmp_path / "mask.png")
        if index % 10 == 9:
            download(page, "png")
        protocol.send("HeapProfiler.collectGarbage")
        found.append(renderer_bytes(page))
    # What is open takes 30 MiB: two copies of 8 MiB, previews, masks. A leak of one a picture
    # would come to 1,200 over forty.
    grown = max(found[40:]) - max(found[5:15])
    assert grown < 100 * 2**20, [round(size / 2**20) for size in found]


def renderer_bytes(page: Any) -> int:
    """Memory of the page's processes that is theirs alone."""
    session = page.context.browser.new_browser_cdp_session()
    processes = session.send("SystemInfo.getProcessInfo")["processInfo"]
    session.detach()
    return sum(
        int(line.split()[1]) * 1024
        for process in processes
        if process["type"] == "renderer"
        for line in Path(f"/proc/{process['id']}/smaps_rollup").read_text().splitlines()
        if line.startswith(("Private_Dirty", "Private_Clean"))
    )


@pytest.mark.slow
def test_photograph_of_24_megapixels_is_drawn_and_saved_whole(page: Any, tmp_path: Path) -> None:
    image = np.asarray(Image.fromarray(skimage.data.astronaut()).resize((6000, 4000)))
    mask = np.zeros((4000, 6000), np.uint8)
    mask[1000:3000, 2000:4000] = 255
    Image.fromarray(image).save(tmp_path / "composite.jpg", quality=90)
    Image.fromarray(mask).save(tmp_path / "mask.png")
    page.set_default_timeout(180_000)
    drop(page, tmp_path / "composite.jpg", tmp_path / "mask.png")
    saved = Image.open(io.BytesIO(download(page, "jpeg")))
    assert saved.size == (6000, 4000)
    page.set_default_timeout(30_000)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["broken.jpg"], "broken.jpg must be a picture that this browser reads"),
        (["composite.png", "mask-small.png"], "must have the composite's width and height"),
        (["noise.onnx"], "noise.onnx must be a complete ONNX model"),
        (["foreign.onnx"], "foreign.onnx must say harmonizer.format"),
        (["infinite.onnx"], "are not finite"),
        (["twice.json"], "twice.json must have every key once"),
        (["beyond.json"], "argument `brightness` must lie in [-1, 1]; got 3"),
        (["composite.png", "background.png"], "One of two pictures must be a mask"),
        (["composite.png", "mask.png", "background.png"], "got 3. Choose two"),
        (["huge.png"], "at most 100 megapixels to fit into a tab; it has 108"),
    ],
)
def test_bad_input_is_said_and_nothing_is_lost(
    page: Any, pictures: Path, names: list[str], said: str
) -> None:
    if "huge.png" in names:
        write_huge(pictures / "huge.png")
    drop(page, pictures / "composite.png", pictures / "mask.png")
    before = download(page, "png")
    drop(page, *(pictures / name for name in names), drawn=False)
    page.wait_for_selector("#message:visible")
    assert said in page.inner_text("#message")
    if len(names) == 2 and "mask-small.png" in names:
        return  # the composite was taken, and waits for a mask
    assert download(page, "png") == before


def write_huge(path: Path) -> None:
    """A PNG of 12,000 x 9,000 pixels, one bit each."""
    data = zlib.compress(bytes(9000 * (1 + 1500)), 1)
    header = bytes.fromhex("00002ee0 00002328 01 00 00 00 00")
    chunks = ((b"IHDR", header), (b"IDAT", data), (b"IEND", b""))
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")
            for kind, body in chunks
        )
    )


def test_page_asks_nothing_of_anyone_else(page: Any, address: str) -> None:
    assert page.hosts == {address.split("/")[2]}


def test_scripts_are_small(site: Path) -> None:
    scripts = sum(path.stat().st_size for path in site.iterdir() if path.suffix in {".js", ".mjs"})
    assert scripts < 250_000
    assert (site / "harmonizer.wasm").stat().st_size < 1_000_000


def test_page_works_without_a_network_once_it_was_there(browser: Any, address: str) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(address.removesuffix("index.html") + "index.html")
    page.wait_for_selector("html[data-ready]")
    page.evaluate("async () => { await navigator.serviceWorker.ready; }")
    context.set_offline(True)
    page.reload()
    page.wait_for_selector("html[data-ready]")
    page.click("#example-first")
    page.wait_for_selector(DRAWN, timeout=60_000)
    context.close()


def test_build_refuses_to_be_without_node(monkeypatch: pytest.MonkeyPatch) -> None:
    import build_studio

    monkeypatch.setenv("PATH", "")
    with pytest.raises(build_studio.BuildError, match="needs Node"):
        build_studio.install_packages()


def test_policy_of_the_page_is_that_of_the_server() -> None:
    from harmonizer.studio import POLICY

    page = (ROOT / "runtime/web/studio/index.html").read_text()
    assert (
        f'content="{POLICY.removesuffix("; frame-ancestors " + chr(39) + "none" + chr(39))}"'
        in page
    )
