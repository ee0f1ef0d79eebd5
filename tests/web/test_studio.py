"""The studio, driven as a person would, in a real browser."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
from numpy.typing import NDArray
from PIL import Image
from repository import ROOT
from studio_page import (
    DRAWN,
    READY,
    download,
    drawn_arguments,
    drop,
    read_rgb,
    wait_for_arguments,
)

from export.tolerances import ONNX_FP32_ARGUMENTS
from harmonizer import Arguments, Harmonizer
from harmonizer.frame import CpuFrame
from harmonizer.images.files import load_photo
from harmonizer.lut import build_lattice, format_cube
from harmonizer.renderer import CpuRenderer

pytestmark = pytest.mark.long


@pytest.fixture
def composite(studio: Any, pictures: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    drop(studio, pictures / "composite.png", pictures / "mask.png")
    image, mask = (np.asarray(Image.open(pictures / f"{n}.png")) for n in ("composite", "mask"))
    return image, mask


@pytest.mark.usefixtures("plainest_instructions")
def test_drop_predicts_what_python_predicts_and_saves_what_the_library_draws(
    studio: Any, composite: tuple[NDArray[np.uint8], NDArray[np.uint8]], tmp_path: Path
) -> None:
    image, mask = composite
    with Harmonizer(backend="cpu") as harmonizer:
        expected = harmonizer.predict(image, mask)
    given = drawn_arguments(studio)
    assert tuple(given) == expected.filters
    apart = np.abs(np.array(list(given.values())) - expected.array()).max()
    assert apart <= ONNX_FP32_ARGUMENTS, apart
    (tmp_path / "look.json").write_bytes(download(studio, "json"))
    saved = Arguments.load(tmp_path / "look.json")
    assert dict(saved) == given
    with CpuFrame(image, mask) as frame:
        plan = frame.measure(saved)
        drawn = frame.draw(plan)
    assert np.array_equal(read_rgb(download(studio, "png")), drawn)
    (tmp_path / "deep.png").write_bytes(download(studio, "png16"))
    with CpuFrame(image.astype(np.uint16) * 257, mask) as frame:
        deep = frame.draw(frame.measure(saved))
    assert np.array_equal(load_photo(tmp_path / "deep.png").pixels, deep)
    lines = format_cube(build_lattice(CpuRenderer(), plan, 33), "composite").splitlines()
    assert download(studio, "cube").splitlines() == lines
    jpeg = read_rgb(download(studio, "jpeg")).astype(np.int16)
    assert np.abs(jpeg - drawn).mean() < 4


@pytest.mark.usefixtures("composite")
def test_keyboard_moves_a_slider_undoes_and_resets(studio: Any) -> None:
    before = drawn_arguments(studio)
    studio.focus("#slider-brightness")
    for _ in range(10):
        studio.keyboard.press("ArrowRight")
    moved = float(studio.input_value("#slider-brightness"))
    assert moved > before["brightness"] + 0.04
    studio.wait_for_function(
        "(value) => JSON.parse(document.documentElement.dataset.drawn).brightness === value",
        arg=moved,
    )
    spoken = studio.get_attribute("#slider-brightness", "aria-valuetext")
    assert "predicted" in spoken
    for _ in range(10):
        studio.keyboard.press("Control+z")
    wait_for_arguments(studio, before)
    studio.keyboard.press("ArrowRight")
    studio.click("[aria-label='Reset brightness']")
    wait_for_arguments(studio, before)
    studio.focus("#split")
    at = float(studio.get_attribute("#split", "aria-valuenow"))
    studio.keyboard.press("ArrowRight")
    studio.wait_for_function(
        "(at) => Number(document.querySelector('#split').ariaValueNow) > at", arg=at
    )


@pytest.mark.usefixtures("composite")
def test_strength_nought_draws_the_composite(studio: Any, pictures: Path) -> None:
    studio.evaluate(
        """() => { const s = document.querySelector("#slider-strength"); s.value = 0;
        for (const kind of ["input", "change"]) s.dispatchEvent(new Event(kind)); }"""
    )
    png = read_rgb(download(studio, "png"))
    assert np.array_equal(png, np.asarray(Image.open(pictures / "composite.png")))


@pytest.mark.usefixtures("composite")
def test_arguments_of_a_file_and_of_the_address_are_drawn(studio: Any, tmp_path: Path) -> None:
    look = Arguments.from_mapping({**dict(Arguments.identity()), "shadow": 0.25})
    look.save(tmp_path / "look.json")
    drop(studio, tmp_path / "look.json")
    assert drawn_arguments(studio) == dict(look)
    studio.evaluate(
        "delete document.documentElement.dataset.drawn; location.hash = 'contrast=-0.3'"
    )
    studio.wait_for_selector(DRAWN)
    assert drawn_arguments(studio)["contrast"] == -0.3
    studio.evaluate("history.replaceState(null, '', ' ')")


@pytest.mark.usefixtures("composite")
def test_second_network_draws_curves(studio: Any, tmp_path: Path) -> None:
    studio.evaluate("delete document.documentElement.dataset.drawn")
    studio.check("[name=model][value=s2crnet]", force=True)
    studio.wait_for_selector(DRAWN)
    (tmp_path / "look.json").write_bytes(download(studio, "json"))
    assert Arguments.load(tmp_path / "look.json").filters == ("piecewise_curve",)
    studio.evaluate("delete document.documentElement.dataset.drawn")
    studio.check("[name=model][value=harmonizer]", force=True)
    studio.wait_for_selector(DRAWN)


def test_cut_out_is_placed_by_keyboard(studio: Any, pictures: Path) -> None:
    drop(studio, pictures / "cutout.png", pictures / "background.png")
    before = read_rgb(download(studio, "png"))
    assert before.shape == (427, 640, 3)
    studio.keyboard.press("p")
    studio.focus("#canvas")
    for key in ("ArrowLeft", "Shift+ArrowLeft", "]", "-"):
        studio.keyboard.press(key)
    studio.evaluate("delete document.documentElement.dataset.drawn")
    studio.click("#place-done")
    studio.wait_for_selector(DRAWN)
    after = read_rgb(download(studio, "png"))
    assert not np.array_equal(before, after)
    assert np.array_equal(after[:60], skimage.data.rocket()[:60])


def test_mask_is_painted(studio: Any, pictures: Path) -> None:
    drop(studio, pictures / "background.png", drawn=False)
    studio.wait_for_selector("#brush:visible")
    studio.focus("#canvas")
    studio.keyboard.press("Space")
    studio.click("#brush-done")
    studio.wait_for_selector(DRAWN)
    drawn = read_rgb(download(studio, "png"))
    changed = (drawn != skimage.data.rocket()).any(axis=2)
    assert changed.any() and not changed[:100].any() and not changed[:, :200].any()


def test_loupe_shows_pixels_of_the_whole_picture(studio: Any, pictures: Path) -> None:
    drop(studio, pictures / "composite.png", pictures / "mask.png")
    studio.keyboard.press("l")
    studio.wait_for_function("() => document.querySelector('#glass').width === 280")
    studio.keyboard.press("ArrowLeft")
    shown = studio.evaluate(
        """() => new Promise((done) => setTimeout(() => done(Array.from(document
        .querySelector("#glass").getContext("2d").getImageData(0, 0, 1, 1).data)), 500))"""
    )
    # 100 % at the left edge of the glass: the composite, 20 pixels left of the middle.
    image = np.asarray(Image.open(pictures / "composite.png"))
    assert shown[:3] == image[10, 200 - 20 - 140].tolist()
    studio.keyboard.press("l")


def test_turned_photograph_stands_upright(studio: Any, tmp_path: Path) -> None:
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(skimage.data.astronaut()[:300, :400]).save(tmp_path / "turned.jpg", exif=turned)
    drop(studio, tmp_path / "turned.jpg", drawn=False)
    studio.wait_for_function("() => /300 . 400/.test(document.querySelector('#facts').textContent)")
    studio.click("#paint")


def test_page_asks_nothing_of_anyone_else(studio: Any, address: str) -> None:
    assert studio.hosts == {address.split("/")[2]}


def test_scripts_are_small(studio_site: Path) -> None:
    scripts = sum(
        path.stat().st_size for path in studio_site.iterdir() if path.suffix in {".js", ".mjs"}
    )
    assert scripts < 250_000
    assert (studio_site / "harmonizer.wasm").stat().st_size < 1_000_000


def test_page_works_without_a_network_once_it_was_there(browser: Any, address: str) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(address.removesuffix("index.html") + "index.html")
    page.wait_for_selector(READY)
    page.evaluate("async () => { await navigator.serviceWorker.ready; }")
    context.set_offline(True)
    page.reload()
    page.wait_for_selector(READY)
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
