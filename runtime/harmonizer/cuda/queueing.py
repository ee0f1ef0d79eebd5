"""Queue frames: launches of `hz_cuda_schedule`, a predictor between them, graphs of the whole.

Everything here works on device memory and returns without waiting; transfers and arrays are the
renderer's business.
"""

import ctypes
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

import numpy as np

from harmonizer import _native
from harmonizer.contract import LABELS
from harmonizer.cuda.arrays import View
from harmonizer.cuda.device import Device, release_at_exit
from harmonizer.cuda.graph import Graph, GraphError
from harmonizer.cuda.predictor import THUMBNAIL_PIXELS, DevicePredictor
from harmonizer.cuda.ranges import call_in_range
from harmonizer.cuda.scratch import Scratch, round_up
from harmonizer.cuda.slot import MOST_RECORDINGS, Memory, Recording, Slot
from harmonizer.cuda.surfaces import SurfaceView
from harmonizer.errors import BusyError, DeviceError
from harmonizer.frame import Network
from harmonizer.ops import OPERATIONS
from harmonizer.plan import Step

MOST_SLOTS = 4
"""Frames (or batches) in flight on one renderer; a further thread waits for one to end."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FrameTask:
    """One frame to queue: what decides its launches, and nothing else.

    Attributes:
        image: Its pixels.
        mask: Its foreground; None for the whole image.
        out: Where to draw; None where nothing is drawn.
        filters: In drawing order.
        stages: How many curves come in turn in the one that has curves; else 0.
        strength: Of predicted arguments.
    """

    image: View | SurfaceView
    mask: View | None
    out: View | SurfaceView | None
    filters: tuple[str, ...]
    stages: int = 0
    strength: float = 1.0


class FrameRunner:
    """Queues frames on slots; safe to use from several threads.

    Args:
        device: The GPU.
        graphs: Whether frames that come again are captured as CUDA graphs.

    Attributes:
        graph_status: "on", or "off: " and why.

    Raises:
        DeviceError: If the kernels cannot be loaded.
    """

    def __init__(self, device: Device, graphs: bool = True) -> None:
        self.device = device
        self.graph_status = "on" if graphs else "off: as asked"
        self._workspace = round_up(_native.workspace_size())
        self._ready = threading.Condition()
        self._idle: list[Slot] = []
        self._made, self._closed = 0, False
        self._functions: dict[bytes, Any] = {}
        with device.current():
            self._module: Any = device.load_kernels()
            self._memory = Memory(device)
        release_at_exit(self)

    @contextmanager
    def slot(self) -> Iterator[Slot]:
        """Borrow a slot, with the context made current; wait for one if all are in use.

        Raises:
            DeviceError: If the runner is closed, or what is done inside fails.
        """
        slot = self.take()
        try:
            with self.device.current():
                yield slot
        finally:
            self.give(slot)

    def take(self, wait: bool = True) -> Slot:
        """Take a slot for as long as you like; `give` it back.

        Raises:
            BusyError: If all slots are in use, without `wait`.
            DeviceError: If the runner is closed.
        """
        with self._ready:
            self._ready.wait_for(
                lambda: not wait or self._closed or self._idle or self._made < MOST_SLOTS
            )
            if self._closed:
                raise DeviceError(
                    "the CUDA renderer must be open; it was closed. Make another one."
                )
            if self._idle:
                return self._idle.pop()
            if self._made >= MOST_SLOTS:
                raise BusyError("all frames in flight are taken; wait for one to end.")
            self._made += 1
        try:
            with self.device.current():
                return Slot(self.device, self._memory)
        except BaseException:
            with self._ready:
                self._made -= 1
            raise

    def give(self, slot: Slot) -> None:
        """Give a slot back; what it has queued goes on."""
        with self._ready:
            self._idle.append(slot)
            self._ready.notify()

    def queue(
        self,
        slot: Slot,
        tasks: Sequence[FrameTask],
        phases: int,
        network: Network | None = None,
        programs: Sequence[tuple[Step, ...]] | None = None,
        statistics_given: bool = False,
        thumbnails: bool = False,
        crops: bool = False,
    ) -> Scratch:
        """Queue frames on a slot's stream: all measured, predicted as one batch, all drawn.

        Args:
            slot: Borrowed; its context is current.
            tasks: The frames.
            phases: Which of `_native.PHASE_MEASURE`, `PHASE_PREPARE`, `PHASE_DRAW`.
            network: Gives the arguments; None if `programs` does, or nothing is drawn.
            programs: Each frame's steps.
            statistics_given: Whether the programs hold the image's statistics, too.
            thumbnails: Whether the thumbnails are wanted without a predictor.
            crops: Whether these are the ones of foreground and background apart; a network's
                contract says so itself.

        Returns:
            Where the results lie in device memory, until the slot's next use.

        Raises:
            ValueError: If a frame breaks a rule of the kernels (overlapping memory, say).
            DeviceMemoryError: If the scratch memory does not fit.
            DeviceError: If a call fails.
            ModelError: If the predictor fails.
        """
        if network is not None:
            crops = network.contract.crops
        predictor: DevicePredictor | None = None if network is None else network.predictor
        scratch = self._scratch(slot, len(tasks), network, thumbnails, crops)
        if programs is not None:
            _stage_programs(slot, programs)
        given = programs is not None
        label = None if network is None else network.label
        key = (tuple(tasks), phases, id(predictor), given, statistics_given, crops, label)
        try:
            recording = slot.recordings.get(key)
            if recording is None:
                recording = self._record(
                    slot, tasks, phases, predictor, scratch, given, statistics_given
                )
                slot.recordings[key] = recording
                if len(slot.recordings) > MOST_RECORDINGS:
                    slot.stream.synchronize()
                    slot.recordings.popitem(last=False)[1].release()
            else:
                slot.recordings.move_to_end(key)
            self._play(slot, recording, getattr(predictor, "capturable", True))
        except BaseException:
            slot.damaged = True
            raise
        return scratch

    def release(self) -> None:
        """Wait for slots in use, then give everything back; a second time does nothing."""
        with self._ready:
            if self._closed:
                return
            self._closed = True
            self._ready.notify_all()
            self._ready.wait_for(lambda: len(self._idle) == self._made, timeout=60)
            idle, self._idle = self._idle, []
        with self.device.current():
            while idle:
                idle.pop().release()
            self._functions.clear()
            self._module = None
            self._memory.release()

    def _scratch(
        self,
        slot: Slot,
        count: int,
        network: Network | None,
        thumbnails: bool,
        crops: bool,
    ) -> Scratch:
        part, numbers, size = count, 0, 4 if thumbnails else 0
        label = None if network is None else network.label
        if network is not None:
            predictor: DevicePredictor = network.predictor
            part, numbers = min(count, predictor.largest_batch), predictor.contract.count
            size = 2 if predictor.thumbnail_type == "float16" else 4
        workspace, new = slot.buffer("workspace", count * self._workspace)
        if new or slot.damaged:
            total = count * self._workspace
            self.device.pycuda.memset_d8_async(workspace, 0, total, slot.stream)
            slot.damaged = False
        composite = coverage = arguments = rows = 0
        if size:
            pixels = size * THUMBNAIL_PIXELS * count
            composite, _ = slot.buffer("composite", 3 * pixels)
            coverage, _ = slot.buffer("coverage", (3 if crops else 1) * pixels)
        if numbers:
            parts = -(-count // part)
            arguments, _ = slot.buffer("arguments", parts * round_up(4 * part * numbers))
        if label is not None:
            rows = _label_rows(slot, label, part, np.dtype(f"float{8 * size}"))
        return Scratch(
            workspace,
            self._workspace,
            composite,
            coverage,
            arguments,
            rows,
            size,
            count,
            part,
            numbers,
            crops,
        )

    def _record(
        self,
        slot: Slot,
        tasks: Sequence[FrameTask],
        phases: int,
        predictor: DevicePredictor | None,
        scratch: Scratch,
        given: bool,
        statistics_given: bool,
    ) -> Recording:
        frames = [
            _frame(task, scratch, index, predictor is not None, statistics_given)
            for index, task in enumerate(tasks)
        ]
        for frame in frames:
            frame.processors = self.device.processors
        recording = Recording()
        if given:
            size = ctypes.sizeof(_native.Program)
            staged = slot.staging("programs", len(tasks) * size)
            copy = self.device.pycuda.memcpy_htod_async
            recording.add(
                "programs",
                (
                    partial(
                        copy,
                        scratch.report(index),
                        staged[index * size : (index + 1) * size],
                        slot.stream,
                    )
                    for index in range(len(tasks))
                ),
            )
        for stage, kept in (("measure", _native.PHASE_MEASURE), ("draw", ~_native.PHASE_MEASURE)):
            if stage == "draw" and predictor is not None:
                recording.add("predict", _predictions(predictor, scratch, slot.handle))
            if wanted := phases & kept:
                calls = (self._launches(slot, frame, wanted) for frame in frames)
                recording.add(stage, chain.from_iterable(calls))
        return recording

    def _launches(
        self, slot: Slot, frame: _native.Frame, phases: int
    ) -> Iterator[Callable[[], None]]:
        for launch in _native.schedule(frame, phases):
            function = self._functions.get(launch.kernel)
            if function is None:
                function = self._module.get_function(launch.kernel.decode())
                self._functions[launch.kernel] = function
            # What PyCUDA's prepared calls end in; they would pack the bytes again.
            yield partial(
                function._launch_kernel,
                tuple(launch.grid),
                tuple(launch.block),
                bytes(launch.parameters[: launch.size]),
                launch.shared,
                slot.stream,
            )

    def _play(self, slot: Slot, recording: Recording, capturable: bool) -> None:
        recording.plays += 1
        # The first time warms up what a capture must not contain: allocations of a predictor.
        if capturable and self.graph_status == "on" and recording.plays == 2:
            slot.stream.synchronize()
            try:
                recording.graph = Graph(slot.handle, recording.play)
            except GraphError as error:
                self.graph_status = f"off: {error}"
                # As text: a record that a handler keeps would keep the slot's memory alive.
                reason = str(error)
                _log.warning("frames are queued call by call, not as CUDA graphs: %s", reason)
        if recording.graph is not None:
            call_in_range("frame, one graph", (partial(recording.graph.launch, slot.handle),))
        else:
            recording.play()


def read_reports(slot: Slot, scratch: Scratch) -> ctypes.Array[_native.Report]:
    """Queue the copies of the frames' reports; they can be read when the stream has passed."""
    size = ctypes.sizeof(_native.Report)
    staged = slot.staging("reports", scratch.count * size)
    for index in range(scratch.count):
        slot.copy_to_host(staged[index * size : (index + 1) * size], scratch.report(index))
    return (_native.Report * scratch.count).from_buffer(staged.data)


def _frame(
    task: FrameTask, scratch: Scratch, index: int, predicted: bool, statistics_given: bool
) -> _native.Frame:
    frame = _native.Frame()
    if isinstance(task.image, SurfaceView):
        frame.surface = ctypes.pointer(task.image.native())
    else:
        frame.image = task.image.image()
    if task.mask is not None:
        frame.mask = task.mask.mask()
    if isinstance(task.out, SurfaceView):
        frame.surface_out = ctypes.pointer(task.out.native())
    elif task.out is not None:
        frame.out = task.out.image()
    frame.workspace = scratch.report(index)
    if scratch.size:
        thumbnails = scratch.thumbnails(index)
        if scratch.crops:
            frame.foreground, frame.background = thumbnails
        else:
            frame.composite, frame.coverage = thumbnails
    frame.thumbnail_type = _native.F16 if scratch.size == 2 else _native.F32
    if predicted:
        frame.arguments = scratch.predicted(index)
    frame.strength = task.strength
    frame.statistics_given = int(statistics_given)
    frame.count = len(task.filters)
    for position, name in enumerate(task.filters):
        frame.operations[position] = OPERATIONS[name].code
    frame.stages = task.stages
    return frame


def _predictions(
    predictor: DevicePredictor, scratch: Scratch, stream: int
) -> Iterator[Callable[[], None]]:
    """The batch, in parts that the predictor takes."""
    for start in range(0, scratch.count, scratch.part):
        yield partial(
            predictor.enqueue,
            min(scratch.part, scratch.count - start),
            scratch.inputs(start),
            scratch.predicted(start),
            stream,
        )


def _label_rows(slot: Slot, label: int, count: int, kind: np.dtype[Any]) -> int:
    """Address of (count, 5), each row one-hot; written once, for all frames that follow."""
    name, size = f"{kind} label {label}", count * len(LABELS) * kind.itemsize
    slot.staging(name, size)  # first, so that memory which is there has been written
    address, new = slot.buffer(name, size)
    if new:
        rows = np.zeros((count, len(LABELS)), kind)
        rows[:, label] = 1
        slot.upload(name, rows, address)
    return address


def _stage_programs(slot: Slot, programs: Sequence[tuple[Step, ...]]) -> None:
    """Put the frames' programs where the GPU fetches them."""
    entries = (_native.Program * len(programs))()
    for index, steps in enumerate(programs):
        entries[index] = _native.Program.of(steps)
    content = np.frombuffer(bytes(entries), np.uint8)
    staged = slot.staging("programs", len(content))
    # The same programs again, as for a video's frames: nothing to wait for.
    if not np.array_equal(staged, content):
        slot.wait()  # the frame before this one may not have fetched its own yet
        np.copyto(staged, content)
