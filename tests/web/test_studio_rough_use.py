"""The studio used roughly: out of order, too fast, by keyboard alone, on a phone, half there."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from studio_page import (
    DRAWN,
    FACTS,
    download,
    drawn_arguments,
    drop,
    open_studio,
    read_rgb,
    served,
    wait_for_arguments,
)

from harmonizer.studio import files_below

pytestmark = pytest.mark.long

LOOK = {"brightness": 0.4}
FOCUSED = "() => document.activeElement.closest('[id]').id"


def wait_for_facts(page: Any, text: str) -> None:
    page.wait_for_function(f"(text) => ({FACTS})().includes(text)", arg=text)


def test_arguments_that_come_before_the_picture_are_drawn_on_it(
    browser: Any, address: str, pictures: Path, tmp_path: Path
) -> None:
    (tmp_path / "look.json").write_text(json.dumps(LOOK))
    with open_studio(browser, address) as page:
        drop(page, tmp_path / "look.json", drawn=False)
        page.wait_for_selector("#hint:visible")
        assert "drawn on the next picture" in page.inner_text("#hint")
        drop(page, pictures / "composite.png", pictures / "mask.png")
        assert drawn_arguments(page)["brightness"] == LOOK["brightness"]
        page.click("#reset")
        page.wait_for_function("() => !document.querySelector('#undo').disabled")
        assert drawn_arguments(page) is not None


def test_second_drop_waits_for_the_first(studio: Any, pictures: Path, tmp_path: Path) -> None:
    image, mask = (Image.open(pictures / f"{name}.png") for name in ("composite", "mask"))
    image.crop((0, 0, 350, 280)).save(tmp_path / "other.png")
    mask.crop((0, 0, 350, 280)).save(tmp_path / "other-mask.png")
    drop(studio, tmp_path / "other.png", tmp_path / "other-mask.png")
    alone = download(studio, "png")
    for files in (
        [pictures / "composite.png", pictures / "mask.png"],
        [pictures / "background.png"],
        [tmp_path / "other.png", tmp_path / "other-mask.png"],
    ):
        studio.set_input_files("#files", [str(file) for file in files])
    wait_for_facts(studio, "background.png")
    wait_for_facts(studio, "other.png")
    studio.wait_for_function(
        "() => document.querySelector('#saving summary').ariaDisabled !== 'true'"
    )
    assert not studio.is_visible("#message")
    assert download(studio, "png") == alone


def test_background_follows_a_cut_out_though_a_composite_is_open(
    studio: Any, pictures: Path
) -> None:
    drop(studio, pictures / "composite.png", pictures / "mask.png")
    drop(studio, pictures / "cutout.png", drawn=False)
    studio.wait_for_selector("#hint:visible")
    assert "Now drop a background" in studio.inner_text("#hint")
    drop(studio, pictures / "background.png")
    ground = np.asarray(Image.open(pictures / "background.png"))
    drawn = read_rgb(download(studio, "png"))
    assert drawn.shape == ground.shape
    assert np.array_equal(drawn[:60], ground[:60]) and not np.array_equal(drawn, ground)


def test_network_that_cannot_be_had_leaves_the_one_that_is_there(
    browser: Any, studio_site: Path, pictures: Path, tmp_path: Path
) -> None:
    for name, path in files_below(studio_site).items():
        if "s2crnet" not in name:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(path.read_bytes())
    with served(tmp_path) as address, open_studio(browser, address) as page:
        drop(page, pictures / "composite.png", pictures / "mask.png")
        before = drawn_arguments(page)
        acts: tuple[Callable[[], object], ...] = (
            # Not `check`, which complains that the page switches back.
            lambda: page.dispatch_event("[name=model][value=s2crnet]", "click"),
            lambda: page.select_option("#against", "s2crnet"),
        )
        for act in acts:
            act()
            page.wait_for_selector("#message:visible")
            assert "models/s2crnet.onnx must be beside this page" in page.inner_text("#message")
            assert page.is_checked("[name=model][value=harmonizer]")
            assert page.input_value("#against") == "composite"
            assert drawn_arguments(page) == before
            page.focus("#slider-brightness")
            page.keyboard.press("ArrowRight")
            page.wait_for_selector("#message:visible", state="hidden")
            page.keyboard.press("Control+z")
            wait_for_arguments(page, before)


def test_save_menu_is_used_by_keyboard(studio: Any, pictures: Path) -> None:
    drop(studio, pictures / "composite.png", pictures / "mask.png")
    is_open = "() => document.querySelector('#saving').open"
    studio.focus("#saving summary")
    studio.keyboard.press("Enter")
    assert studio.evaluate(is_open)
    studio.keyboard.press("Tab")
    studio.keyboard.press("Escape")
    assert not studio.evaluate(is_open)
    assert studio.evaluate("() => document.activeElement.matches('#saving summary')")
    studio.keyboard.press("Enter")
    studio.keyboard.press("Tab")
    with studio.expect_download() as waiting:
        studio.keyboard.press("Enter")
    assert waiting.value.suggested_filename == "composite-harmonized.png"
    studio.keyboard.press("Enter")
    studio.keyboard.press("Shift+Tab")
    assert not studio.evaluate(is_open)


def test_mask_is_painted_by_keyboard_from_the_first_key_on(studio: Any, pictures: Path) -> None:
    drop(studio, pictures / "background.png", drawn=False)
    studio.wait_for_selector("#brush:visible")
    assert studio.evaluate(FOCUSED) == "canvas"
    assert studio.get_attribute("#canvas", "role") == "application"
    studio.keyboard.press("m")
    studio.wait_for_selector("#brush:visible", state="hidden")
    assert "Nothing is painted" in studio.inner_text("#hint")
    assert studio.is_disabled("#slider-brightness")
    assert studio.get_attribute("#saving summary", "aria-disabled") == "true"
    studio.keyboard.press("m")
    studio.wait_for_selector("#brush:visible")
    studio.evaluate("delete document.documentElement.dataset.drawn")
    for key in ("ArrowLeft", "Space", "m"):
        studio.keyboard.press(key)
    studio.wait_for_selector(DRAWN)
    assert studio.get_attribute("#canvas", "role") == "img"


def test_note_is_closed_and_moving_a_slider_is_not_read_out(studio: Any, pictures: Path) -> None:
    drop(studio, pictures / "background.png", drawn=False)
    ways: tuple[Callable[[], object], ...] = (
        lambda: studio.keyboard.press("Escape"),
        lambda: studio.click("#hint-close"),
    )
    for close in ways:
        studio.wait_for_selector("#hint:visible")
        close()
        studio.wait_for_selector("#hint:visible", state="hidden")
        studio.click("#paint")
        studio.click("#paint")
    drop(studio, pictures / "composite.png", pictures / "mask.png")
    download(studio, "png")
    studio.wait_for_function(
        "() => document.querySelector('#status').textContent.startsWith('Saved')"
    )
    studio.focus("#slider-brightness")
    before = drawn_arguments(studio)["brightness"]
    studio.keyboard.press("ArrowRight")
    studio.wait_for_function(
        "(before) => JSON.parse(document.documentElement.dataset.drawn).brightness !== before",
        arg=before,
    )
    assert studio.inner_text("#status").startswith("Saved")


def test_link_without_a_clipboard_is_in_the_address_bar(studio: Any, pictures: Path) -> None:
    drop(studio, pictures / "composite.png", pictures / "mask.png")
    studio.evaluate("() => Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    studio.click("#saving summary")
    studio.click("[data-save=link]")
    studio.wait_for_function(
        "() => document.querySelector('#status').textContent.includes('address bar')"
    )
    assert "#temperature=" in studio.url
    assert not studio.is_visible("#message")
    studio.evaluate("history.replaceState(null, '', ' ')")


def test_cut_out_in_black_and_white_is_placed_and_a_mask_with_alpha_is_none(
    studio: Any, pictures: Path, tmp_path: Path
) -> None:
    grey, mask = (
        Image.open(pictures / "composite.png").convert("L"),
        Image.open(pictures / "mask.png"),
    )
    Image.merge("LA", (grey, mask)).save(tmp_path / "grey.png")
    drop(studio, tmp_path / "grey.png", pictures / "background.png")
    assert not studio.is_visible("#message") and studio.is_visible("#place")
    wait_for_facts(studio, "background.png")
    Image.merge("LA", (Image.new("L", mask.size, 255), mask)).save(tmp_path / "white.png")
    drop(studio, pictures / "composite.png", tmp_path / "white.png")
    wait_for_facts(studio, "composite.png")
    by_alpha = download(studio, "png")
    drop(studio, pictures / "composite.png", pictures / "mask.png")
    assert download(studio, "png") == by_alpha


def test_cut_out_ends_painting_and_placing_of_what_was_open(studio: Any, pictures: Path) -> None:
    drop(studio, pictures / "composite.png", drawn=False)
    studio.wait_for_selector("#brush:visible")
    drop(studio, pictures / "cutout.png", pictures / "background.png")
    wait_for_facts(studio, "background.png")
    assert not studio.is_visible("#brush")
    first = download(studio, "png")
    studio.click("#place")
    studio.wait_for_selector("#placing:visible")
    studio.keyboard.press("ArrowLeft")
    drop(studio, pictures / "cutout.png", pictures / "background.png")
    studio.wait_for_selector("#placing:visible", state="hidden")
    assert download(studio, "png") == first


def test_mask_of_a_cut_out_is_there_to_paint_on(studio: Any, pictures: Path) -> None:
    drop(studio, pictures / "cutout.png", pictures / "background.png")
    before = read_rgb(download(studio, "png"))
    studio.click("#paint")
    studio.wait_for_selector("#brush:visible")
    for _ in range(12):
        studio.keyboard.press("Shift+ArrowUp")
    studio.keyboard.press("Space")
    studio.evaluate("delete document.documentElement.dataset.drawn")
    studio.click("#brush-done")
    studio.wait_for_selector(DRAWN)
    studio.evaluate(
        "delete document.documentElement.dataset.drawn; location.hash = 'brightness=0.9'"
    )
    studio.wait_for_selector(DRAWN)
    after = read_rgb(download(studio, "png"))
    changed = (before != after).any(axis=2)
    assert changed[:40, 300:340].any()  # what was painted
    assert changed[300:, 250:390].mean() > 0.5  # the cut-out
    assert not changed[200:, :100].any()
    studio.evaluate("history.replaceState(null, '', ' ')")


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (60_000, 2)])
def test_thin_pictures_are_drawn(studio: Any, tmp_path: Path, size: tuple[int, int]) -> None:
    Image.new("RGB", size, (90, 140, 60)).save(tmp_path / "thin.png")
    (tmp_path / "nothing.json").write_text('{"brightness": 0}')
    Image.new("L", size, 255).save(tmp_path / "mask.png")
    drop(studio, tmp_path / "thin.png", tmp_path / "mask.png")
    assert not studio.is_visible("#message")
    drop(studio, tmp_path / "nothing.json")
    drawn = read_rgb(download(studio, "png"))
    assert np.array_equal(drawn, np.full((size[1], size[0], 3), (90, 140, 60)))


def test_phone_shows_everything_without_scrolling_sideways(
    browser: Any, address: str, pictures: Path
) -> None:
    phone = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}
    with open_studio(browser, address, **phone) as page:
        for files in (["composite.png", "mask.png"], ["cutout.png", "background.png"]):
            drop(page, *(pictures / name for name in files))
            assert page.evaluate("() => document.documentElement.scrollWidth") <= 360
        page.click("#place")
        page.wait_for_selector("#placing:visible")
        page.click("#saving summary")
        small = page.evaluate(
            """() => [...document.querySelectorAll("button, summary, select, input[type=range]")]
            .filter((found) => found.checkVisibility()).map((found) => [found,
            found.getBoundingClientRect()]).filter(([, box]) => box.left < 0 || box.right > 360 ||
            box.height < 24 || box.width < 24).map(([found]) => found.outerHTML.slice(0, 80))"""
        )
        assert small == []
