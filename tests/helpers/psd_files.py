"""Photoshop's files, by psd-tools."""

from pathlib import Path
from typing import Any

import pytest
from numpy.typing import NDArray
from photographs import picture
from PIL import Image

Array = NDArray[Any]


def write_psd(
    path: Path, pixels: Array, transparent: bool = False, merged: bool = True, **resources: bytes
) -> None:
    """A file as Photoshop writes it: a layer, and the merged picture."""
    psd_tools = pytest.importorskip("psd_tools")
    pytest.importorskip("OpenImageIO", reason="harmonizer[formats] is not installed")
    from psd_tools.constants import Resource
    from psd_tools.psd.image_resources import ImageResource

    height, width, channels = pixels.shape
    mode = "L" if channels == 1 else "RGB"
    psd = psd_tools.PSDImage.new(mode, (width, height), depth=8 * pixels.itemsize)
    record = psd._record
    if transparent:
        psd.create_pixel_layer(Image.fromarray(picture(height, width)), name="a layer")
        psd.save(path)
        record = psd_tools.PSDImage.open(path)._record
        record.layer_and_mask_information.layer_info.layer_count = -1
    record.header.channels = channels
    order = pixels.astype(pixels.dtype.newbyteorder(">"))
    planes = [order[..., at].tobytes() for at in range(channels)]
    record.image_data.set_data(planes, record.header)
    for name, content in resources.items():
        number = Resource[name].value
        record.image_resources[number] = ImageResource(key=number, data=content)
    if not merged:
        record.image_resources[Resource.VERSION_INFO.value].data.has_composite = False
    with path.open("wb") as file:
        record.write(file)
