"""Pictures as video decoders give them, in GPU memory: NV12, P010, P012, P016.

They are drawn as R'G'B' (ITU-T H.273, section 8.3) by the kernels themselves, so that a decoder's
surface goes to an encoder without a converted copy. `harmonizer_surface.h` of the C library defines
what is drawn; in short: luma stays bit for bit where the mask is 0, and chroma where it is 0 for
all of the 2x2 pixels that share the sample.
"""

from dataclasses import dataclass
from typing import Any, Literal

from harmonizer import _native
from harmonizer.cuda.arrays import (
    TYPE_NAMES,
    check_device,
    is_device_array,
    is_read_only,
    kind_of,
    read_array,
)
from harmonizer.cuda.device import Device
from harmonizer.cuda.dlpack import Tensor

Matrix = Literal["bt601", "bt709", "bt2020"]

MATRICES: dict[str, int] = {"bt709": 1, "bt601": 6, "bt2020": 9}
"""Codes of ITU-T H.273, table 4; bt2020 is the one of non-constant luminance."""

_DEEP_BITS = (10, 12, 16)


@dataclass(frozen=True, slots=True, eq=False)
class Surface:
    """A picture in two planes of GPU memory; takes the place of an image on backend "cuda".

    Args:
        luma: (H, W) device array (as images are: DLPack or ``__cuda_array_interface__``), uint8 or
            uint16. Rows may have gaps, samples may not.
        chroma: (ceil(H/2), ceil(W/2), 2) of Cb and Cr, or (ceil(H/2), 2*ceil(W/2)); of luma's type.
        matrix: Which R'G'B' the codes stand for.
        full_range: Whether luma has all codes; else 16..235 of 8 bits.
        bits: 8 for uint8. For uint16 10, 12 or 16, in the high bits; None stands for 10.

    Raises:
        TypeError: If a plane is no device array.
        ValueError: If `matrix` or `bits` is none of those.
    """

    luma: Any
    chroma: Any
    matrix: Matrix = "bt709"
    full_range: bool = False
    bits: int | None = None

    def __post_init__(self) -> None:
        for name in ("luma", "chroma"):
            if not is_device_array(getattr(self, name)):
                raise TypeError(
                    f"`{name}` must be an array in GPU memory; got "
                    f"{type(getattr(self, name)).__name__}. Copy it to the GPU, or convert the "
                    "picture to RGB: arrays on the host are (H, W, 3)."
                )
        if self.matrix not in MATRICES:
            raise ValueError(
                f"`matrix` must be one of {', '.join(MATRICES)}; got {self.matrix!r}. The stream's "
                "tags say which."
            )
        if self.bits not in (None, 8, *_DEEP_BITS):
            raise ValueError(f"`bits` must be 8, 10, 12 or 16; got {self.bits!r}.")


@dataclass(frozen=True, slots=True)
class SurfaceView:
    """Where a picture lies in device memory; strides in bytes."""

    luma: int
    chroma: int
    height: int
    width: int
    luma_stride: int
    chroma_stride: int
    bits: int
    matrix: int
    full_range: bool

    def native(self) -> _native.Surface:
        """As `hz_surface`."""
        return _native.Surface(
            self.luma,
            self.chroma,
            self.width,
            self.height,
            self.luma_stride,
            self.chroma_stride,
            self.bits,
            self.matrix,
            int(self.full_range),
        )


@dataclass(frozen=True, slots=True)
class BorrowedSurface:
    """A view with what must stay alive while it is used, and the streams that wrote it."""

    view: SurfaceView
    owners: tuple[object, ...]
    streams: tuple[int, ...]


def borrow_surface(image: Surface, name: str, device: Device, stream: int) -> BorrowedSurface:
    """Check the planes of a picture, and find out where they lie.

    Args:
        image: The picture.
        name: What to call it in messages.
        device: The GPU that it must lie on; its context must be current.
        stream: Handle of the stream that will use it.

    Raises:
        TypeError: If a plane's type is another, or the planes' types differ.
        ValueError: If a plane's shape, strides or device is another, or `bits` does not fit.
    """
    luma, luma_owner, luma_stream = read_array(image.luma, f"{name}.luma", stream)
    chroma, chroma_owner, chroma_stream = read_array(image.chroma, f"{name}.chroma", stream)
    for plane, part in ((luma, "luma"), (chroma, "chroma")):
        check_device(plane, f"{name}.{part}", device)
    kind = kind_of(luma, f"{name}.luma", ("u1", "u2"))
    if kind_of(chroma, f"{name}.chroma", ("u1", "u2")) != kind:
        raise TypeError(
            f"`{name}.chroma` must have luma's type; got {chroma.type} beside {luma.type}."
        )
    size = 1 if kind == _native.U8 else 2
    height, width = _luma_size(luma, name, size)
    _check_chroma(chroma, (height + 1) // 2, (width + 1) // 2, name, size)
    bits = image.bits or (8 if size == 1 else 10)
    if (bits == 8) != (size == 1):
        raise ValueError(
            f"`{name}.bits` must be 8 for uint8 and 10, 12 or 16 for uint16; got {bits} for "
            f"{TYPE_NAMES[kind]}."
        )
    view = SurfaceView(
        luma.pointer,
        chroma.pointer,
        height,
        width,
        luma.strides[0],
        chroma.strides[0],
        bits,
        MATRICES[image.matrix],
        bool(image.full_range),
    )
    streams = tuple(own for own in (luma_stream, chroma_stream) if own is not None)
    return BorrowedSurface(view, (luma_owner, chroma_owner), streams)


def borrow_surface_out(
    out: object, view: SurfaceView, device: Device, stream: int
) -> BorrowedSurface:
    """Check an output for a picture: of its size and coding, and writable.

    Raises:
        TypeError, ValueError: As in `borrow_surface`, or if it does not fit the picture.
    """
    if not isinstance(out, Surface):
        raise TypeError(
            f"`out` must be a Surface like the image; got {type(out).__name__}. Allocate two "
            "planes like the image's."
        )
    borrowed = borrow_surface(out, "out", device, stream)
    for plane, owner in zip((out.luma, out.chroma), borrowed.owners, strict=True):
        if is_read_only(plane, owner):
            raise ValueError("`out` must be writable; it is read-only. Pass a copy of it.")
    made = borrowed.view
    wanted, found = ((v.height, v.width, v.bits, v.matrix, v.full_range) for v in (view, made))
    if wanted != found:
        raise ValueError(
            "`out` must have the image's size, bits, matrix and range; got "
            f"{_described(made)} for {_described(view)}. Make it like the image."
        )
    return borrowed


def _described(view: SurfaceView) -> str:
    matrix = next(name for name, code in MATRICES.items() if code == view.matrix)
    range_name = "full" if view.full_range else "limited"
    return f"{view.height}x{view.width}, {view.bits} bits, {matrix}, {range_name} range"


def _luma_size(luma: Tensor, name: str, size: int) -> tuple[int, int]:
    if len(luma.shape) != 2 or 0 in luma.shape or (luma.shape[1] > 1 and luma.strides[1] != size):
        raise ValueError(
            f"`{name}.luma` must have shape (H, W) and no gaps between samples; got {luma.shape} "
            f"with strides {luma.strides}."
        )
    return luma.shape[0], luma.shape[1]


def _check_chroma(chroma: Tensor, rows: int, columns: int, name: str, size: int) -> None:
    shapes = ((rows, columns, 2), (rows, 2 * columns))
    dense = chroma.strides[1:] in ((2 * size, size), (size,))
    if chroma.shape not in shapes or (not dense and columns > 1):
        raise ValueError(
            f"`{name}.chroma` must have shape {shapes[0]} or {shapes[1]} for this luma and no gaps "
            f"between samples; got {chroma.shape} with strides {chroma.strides}."
        )
