"""One GPU: its primary context, its kernels, and the errors it may give.

The primary context is the one that PyTorch, ONNX Runtime and TensorRT use too, so addresses and
streams can be handed from one to the other. It is retained once in a process and kept until the
process ends, as PyTorch keeps it: making it takes long, and others may still use it. It is made
current for the time of a call only, so that other libraries find what they left.
"""

import atexit
import ctypes
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from harmonizer.errors import DeviceError, DeviceMemoryError
from harmonizer.gpu import check_packages, find_gpu, load_driver

_contexts: dict[int, Any] = {}
_owners: "weakref.WeakSet[Releasable]" = weakref.WeakSet()
_lock = threading.Lock()


class Releasable(Protocol):
    """Something that holds memory, streams or modules of a GPU."""

    def release(self) -> None:
        """Give everything back; a second time does nothing."""


def import_pycuda() -> Any:
    """Import PyCUDA's driver interface.

    Raises:
        DeviceError: If there is no usable driver, or PyCUDA is missing or does not load.
    """
    load_driver()
    check_packages()
    try:
        import pycuda.driver
    except ImportError as error:
        raise DeviceError(
            "backend `cuda` needs a PyCUDA that fits the driver; it does not load "
            f"({' '.join(str(error).split())}). Update the driver, or build PyCUDA again: `pip "
            "install --force-reinstall --no-binary pycuda --no-deps pycuda`."
        ) from error
    return pycuda.driver


class Device:
    """A GPU with its primary context; cheap to make, safe to use from several threads.

    Args:
        ordinal: Its number among the visible ones.

    Attributes:
        gpu: What the driver says of it.
        processors: How many multiprocessors it has.

    Raises:
        DeviceError: If there is no usable driver, GPU or PyCUDA.
    """

    def __init__(self, ordinal: int = 0) -> None:
        self.gpu = find_gpu(ordinal)
        self.pycuda = import_pycuda()
        self._driver = load_driver()
        self._context = _retain(self.pycuda, ordinal)
        with self.current():
            attribute = self.pycuda.device_attribute.MULTIPROCESSOR_COUNT
            self.processors = int(self.pycuda.Device(ordinal).get_attribute(attribute))

    @contextmanager
    def current(self) -> Iterator[None]:
        """Make the context current in this thread; what the GPU refuses becomes our errors.

        Raises:
            DeviceMemoryError: If the GPU runs out of memory inside.
            DeviceError: If another call fails inside.
        """
        try:
            self._context.push()
            try:
                yield
            finally:
                self._context.pop()
        except self.pycuda.MemoryError as error:
            raise self.out_of_memory("this") from error
        except self.pycuda.Error as error:
            raise DeviceError(
                f"{self.gpu.name} must carry out what it is given; it fails ({error}). After an "
                "illegal access or a failed launch the process has to be started again."
            ) from error

    def out_of_memory(self, what: str) -> DeviceMemoryError:
        """The error to raise when `what` does not fit."""
        return DeviceMemoryError(
            f"{self.gpu.name} must have room for {what}; it is out of memory. Use a smaller batch "
            "or image, fewer frames in flight, or end other programs that use this GPU."
        )

    def free_memory(self) -> tuple[int, int]:
        """Free and total bytes of the GPU's memory."""
        with self.current():
            free, total = self.pycuda.mem_get_info()
        return int(free), int(total)

    def load_kernels(self) -> Any:
        """Load the compiled kernels; the context must be current.

        Returns:
            PyCUDA's module.

        Raises:
            DeviceError: If there are none for this GPU and none can be compiled.
        """
        from harmonizer.cuda.compiled_kernels import kernel_image

        image = kernel_image(self.gpu.capability)
        try:
            return self.pycuda.module_from_buffer(image)
        except self.pycuda.MemoryError:
            raise
        except self.pycuda.Error as error:
            major, minor = self.gpu.driver
            raise DeviceError(
                "the compiled kernels must be for this GPU and driver; they cannot be loaded on "
                f"{self.gpu.name} with a driver for CUDA {major}.{minor} ({error}). Update the "
                "driver: kernels of a CUDA 13 compiler need one for CUDA 13."
            ) from error

    def is_pinned(self, address: int) -> bool:
        """Whether host memory is page-locked; the context must be current."""
        kind = ctypes.c_uint()
        status = self._driver.cuPointerGetAttribute(
            ctypes.byref(kind), _MEMORY_TYPE, ctypes.c_uint64(address)
        )
        return status == 0 and kind.value == _HOST

    def owner(self, address: int) -> int | None:
        """The GPU that an address of device memory lies on; None for other memory."""
        values = ctypes.c_uint(), ctypes.c_int()
        for value, attribute in zip(values, (_MEMORY_TYPE, _ORDINAL), strict=True):
            if self._driver.cuPointerGetAttribute(
                ctypes.byref(value), attribute, ctypes.c_uint64(address)
            ):
                return None
        return values[1].value if values[0].value == _DEVICE else None


_MEMORY_TYPE, _ORDINAL = 2, 9  # CU_POINTER_ATTRIBUTE_*
_HOST, _DEVICE = 1, 2  # CU_MEMORYTYPE_*


class Fence:
    """An event between streams of which only the handles are known.

    PyCUDA cannot make a stream of somebody else's handle, so these few calls go to the driver
    directly. The context must be current for every method.
    """

    def __init__(self) -> None:
        self._driver = load_driver()
        self._event = ctypes.c_void_p()
        without_timing = 2  # CU_EVENT_DISABLE_TIMING
        self._check("cuEventCreate", ctypes.byref(self._event), without_timing)

    def order(self, first: int, second: int) -> None:
        """What `second` gets from now on waits for what `first` has been given so far."""
        self._check("cuEventRecord", self._event, ctypes.c_void_p(first))
        self._check("cuStreamWaitEvent", ctypes.c_void_p(second), self._event, 0)

    def release(self) -> None:
        """Destroy the event; a second time does nothing."""
        if self._event:
            self._driver.cuEventDestroy_v2(self._event)
            self._event = ctypes.c_void_p()

    def _check(self, name: str, *arguments: object) -> None:
        status = getattr(self._driver, name)(*arguments)
        if status:
            raise DeviceError(
                f"the streams must be of this GPU and alive; {name} fails with CUDA error "
                f"{status}. Pass the handle of an existing stream."
            )


def _retain(pycuda: Any, ordinal: int) -> Any:
    with _lock:
        if ordinal not in _contexts:
            if not _contexts:
                pycuda.init()
                atexit.register(_leave)
            _contexts[ordinal] = pycuda.Device(ordinal).retain_primary_context()
        return _contexts[ordinal]


def release_at_exit(owner: Releasable) -> None:
    """Have `owner` released before the process gives its contexts back."""
    _owners.add(owner)


def _leave() -> None:
    for owner in list(_owners):
        owner.release()
    for context in _contexts.values():
        # PyCUDA's destructor would call cuCtxDetach, which is not for primary contexts.
        context.detach()
    _contexts.clear()
