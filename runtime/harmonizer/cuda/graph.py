"""Capture what is queued on a stream as a CUDA graph, with cuda-bindings.

A graph is launched in one call, where a frame's kernels, copies and network would take dozens.
"""

from collections.abc import Callable
from typing import Any

from harmonizer.errors import DeviceError


class GraphError(DeviceError):
    """Something cannot be captured; it has to be queued call by call."""


def import_bindings() -> Any:
    """Import the driver part of cuda-bindings.

    Raises:
        GraphError: If it is not installed or does not load.
    """
    try:
        from cuda.bindings import driver
    except ImportError as error:
        raise GraphError(f"cuda-bindings cannot be imported ({error})") from error
    return driver


class Graph:
    """A captured graph, ready to be launched; the context must be current for every method.

    Args:
        stream: Handle of the stream to capture; not a default stream.
        body: Queues the work on that stream. It must neither wait nor allocate.

    Raises:
        GraphError: If cuda-bindings is missing, or the driver cannot capture what `body` does.
    """

    def __init__(self, stream: int, body: Callable[[], None]) -> None:
        self._driver = import_bindings()
        self._executable: Any = None
        # Other threads go on allocating meanwhile: only this one is forbidden to.
        mode = self._driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        self._call("cuStreamBeginCapture", stream, mode)
        try:
            body()
        except Exception as error:
            self._abandon(stream)
            raise GraphError(f"the frame cannot be captured ({error})") from error
        (graph,) = self._call("cuStreamEndCapture", stream)
        try:
            (self._executable,) = self._call("cuGraphInstantiate", graph, 0)
        finally:
            self._driver.cuGraphDestroy(graph)

    def launch(self, stream: int) -> None:
        """Queue the whole graph on a stream.

        Raises:
            DeviceError: If the driver refuses.
        """
        (status,) = self._driver.cuGraphLaunch(self._executable, stream)
        if status:
            raise DeviceError(
                f"the frame's graph must be launchable; the driver answers {status.name}. Switch "
                "graphs off: CudaRenderer(graphs=False)."
            )

    def release(self) -> None:
        """Destroy the graph; a second time does nothing."""
        if self._executable is not None:
            self._driver.cuGraphExecDestroy(self._executable)
            self._executable = None

    def _call(self, name: str, *arguments: object) -> tuple[Any, ...]:
        try:
            status, *results = getattr(self._driver, name)(*arguments)
        except RuntimeError as error:  # the driver lacks the function
            raise GraphError(f"{name} is not in this driver ({error})") from error
        if status:
            raise GraphError(f"{name} answers {status.name}")
        return tuple(results)

    def _abandon(self, stream: int) -> None:
        status, graph = self._driver.cuStreamEndCapture(stream)
        if not status and graph:
            self._driver.cuGraphDestroy(graph)
