"""The studio with many pictures, and with a large one."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
from colour_profiles import profile
from PIL import Image
from studio_page import FACTS, download, drop, png_chunk, write_huge

from harmonizer.images.icc import profile_name

pytestmark = [pytest.mark.long, pytest.mark.slow]


@pytest.mark.parametrize("space", ["sRGB", "Display P3"])
def test_memory_is_flat_over_fifty_pictures(studio: Any, tmp_path: Path, space: str) -> None:
    image = np.asarray(Image.fromarray(skimage.data.astronaut()).resize((1920, 1080)))
    mask = np.zeros((1080, 1920), np.uint8)
    mask[200:900, 500:1400] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    protocol = studio.context.new_cdp_session(studio)
    found = []
    for index in range(50):
        icc = profile(space) if space == "Display P3" else None
        rolled = Image.fromarray(np.roll(image, index * 7, axis=1))
        rolled.save(tmp_path / "composite.jpg", icc_profile=icc)
        drop(studio, tmp_path / "composite.jpg", tmp_path / "mask.png")
        if index % 10 == 9:
            download(studio, "png")
        protocol.send("HeapProfiler.collectGarbage")
        if icc:  # Chromium keeps what it converts, half a GiB of it, until memory is short.
            protocol.send("Memory.simulatePressureNotification", {"level": "critical"})
            studio.wait_for_timeout(300)
        found.append(renderer_bytes(studio))
    # What is open takes 30 MiB: two copies of 8 MiB, previews, masks; in Display P3 50. A leak of
    # one a picture would come to 1,200 over forty.
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


@pytest.mark.parametrize("space", ["sRGB", "Display P3"])
def test_photograph_of_24_megapixels_is_drawn_and_saved_whole(
    studio: Any, tmp_path: Path, space: str
) -> None:
    image = np.asarray(Image.fromarray(skimage.data.astronaut()).resize((6000, 4000)))
    mask = np.zeros((4000, 6000), np.uint8)
    mask[1000:3000, 2000:4000] = 255
    icc = profile(space) if space == "Display P3" else None
    Image.fromarray(image).save(tmp_path / "composite.jpg", quality=90, icc_profile=icc)
    Image.fromarray(mask).save(tmp_path / "mask.png")
    studio.set_default_timeout(180_000)
    drop(studio, tmp_path / "composite.jpg", tmp_path / "mask.png")
    assert ("Display P3" in studio.inner_text("#facts")) == (space == "Display P3")
    saved = Image.open(io.BytesIO(download(studio, "jpeg")))
    assert saved.size == (6000, 4000)
    name = profile_name(saved.info.get("icc_profile", b""))
    assert ("Display P3" in name) == (space == "Display P3")
    studio.set_default_timeout(30_000)


def test_picture_in_display_p3_beyond_50_megapixels_is_said_to_be_drawn_in_srgb(
    studio: Any, tmp_path: Path
) -> None:
    write_huge(tmp_path / "p3.png", 9_000, 6_000, png_chunk(b"cICP", bytes((12, 13, 0, 1))))
    studio.set_default_timeout(180_000)
    drop(studio, tmp_path / "p3.png", drawn=False)
    studio.wait_for_function(f"() => ({FACTS})().includes('9000')")
    said = "p3.png has more than 50 megapixels, the most that fit into a tab with colours beyond"
    assert said in studio.inner_text("#hint")
    assert "Display P3" not in studio.inner_text("#facts")
    studio.set_default_timeout(30_000)
