"""Parts of photographs, and what cameras write into their files."""

from typing import Any

import numpy as np
import skimage.data
from PIL import Image, ImageCms

from harmonizer.images import exif

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def picture(height: int = 40, width: int = 56) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The top left corner of a photograph."""
    return np.ascontiguousarray(skimage.data.astronaut()[:height, :width])


def picture16(channels: int = 3) -> np.ndarray[Any, np.dtype[np.uint16]]:
    return np.random.default_rng(5).integers(0, 65536, (21, 33, channels), dtype=np.uint16)


def camera_exif(orientation: int = 1) -> bytes:
    """EXIF of a camera: first directory, EXIF and GPS directories, orientation."""
    tags = Image.Exif()
    tags[0x010F] = "Acme"
    tags[exif.ORIENTATION] = orientation
    tags[0x8298] = "Someone, 2024"
    tags.get_ifd(exif.EXIF_IFD).update({0x829A: 0.004, 0x9003: "2024:05:06 07:08:09"})
    tags.get_ifd(exif.GPS_IFD).update({1: "N", 2: (47.0, 22.0, 30.0)})
    return tags.tobytes().removeprefix(b"Exif\0\0")


def read_exif(structure: bytes) -> tuple[Any, Any, Any, Any]:
    tags = Image.Exif()
    tags.load(b"Exif\0\0" + structure)
    details = tags.get_ifd(exif.EXIF_IFD)
    return tags.get(0x010F), details.get(0x9003), details.get(0x829A), tags.get_ifd(exif.GPS_IFD)
