"""Pictures in work: so many at a time, within the memory of the largest one."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from harmonizer.arguments import Arguments
from harmonizer.composites import harmonize_file
from harmonizer.harmonizer import Harmonizer
from harmonizer.images.decoding import read_size
from harmonizer.images.memory import Blob, Sink
from harmonizer.limits import BYTES_PER_PIXEL, MemoryBudget
from harmonizer.picture import FileOptions, open_picture
from harmonizer.recipes import Recipe, Tools
from harmonizer.serve.answers import RefusedError
from harmonizer.serve.parts import Parts
from harmonizer.serve.settings import Settings
from harmonizer.serve.watch import Figures

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Done:
    """What became of a request.

    Attributes:
        arguments: As drawn.
        notes: What a person should know.
        data: The picture; empty where arguments alone were asked for.
    """

    arguments: Arguments
    notes: tuple[str, ...]
    data: bytes = b""


class Workshop:
    """Threads that share one network and one renderer.

    Args:
        harmonizer: Both.
        settings: How many threads, how long to wait for one, and the largest picture.
        figures: Where work is counted.
    """

    def __init__(self, harmonizer: Harmonizer, settings: Settings, figures: Figures) -> None:
        self.harmonizer = harmonizer
        self._settings = settings
        self._figures = figures
        self._pool = ThreadPoolExecutor(settings.jobs, "harmonizer")
        self._free = asyncio.Semaphore(settings.jobs)
        self._budget = MemoryBudget(settings.max_pixels * BYTES_PER_PIXEL)

    async def predict(self, parts: Parts) -> Done:
        """Arguments alone.

        Raises:
            RefusedError: If it is not its turn in time, or a field is out of range.
            HarmonizerError: If the picture is refused.
        """
        return await self._run(partial(self._work, parts, None))

    async def draw(self, parts: Parts, suffix: str) -> Done:
        """A picture, of arguments that were sent or are predicted.

        Raises:
            RefusedError, HarmonizerError: As `predict` does.
        """
        return await self._run(partial(self._work, parts, suffix))

    def close(self) -> None:
        """Wait for what is in work."""
        self._pool.shutdown()

    async def _run(self, work: Callable[[], T]) -> T:
        wait = self._settings.wait_seconds
        try:
            async with asyncio.timeout(wait):
                await self._free.acquire()
        except TimeoutError:
            raise RefusedError(
                503,
                f"a request may wait {wait:g} seconds for its turn; it has not come. Ask again "
                "later.",
                Retry_After=str(max(1, round(wait))),
            ) from None
        self._figures.working.inc()
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._figures.working.dec()
            self._free.release()

    def _work(self, parts: Parts, suffix: str | None) -> Done:
        image, mask, placing = parts.blob("image"), parts.blob("mask"), parts.placing()
        if image is None:
            raise RefusedError(422, "the request must have the file `image`; it has none.")
        most = self._settings.max_pixels
        options = FileOptions(
            max_pixels=most,
            fit_mask=parts.flag("fit_mask"),
            placing=placing,
            invert_mask=parts.flag("invert_mask"),
        )
        recipe = Recipe(parts.arguments, parts.strength)
        files = [blob for blob in (image, mask, placing and placing.background) if blob]
        sizes = [read_size(blob, most) for blob in files if isinstance(blob, Blob)]
        with self._budget.of(max(size.cost for size in sizes)):
            done = self._done(image, mask, recipe, options, suffix)
        self._figures.pixels.inc(sizes[-1 if placing else 0].pixels)
        return done

    def _done(
        self,
        image: Blob,
        mask: Blob | None,
        recipe: Recipe,
        options: FileOptions,
        suffix: str | None,
    ) -> Done:
        tools = Tools(self.harmonizer.renderer, self.harmonizer)
        if suffix is not None:
            sink = Sink(suffix, "the answer")
            result = harmonize_file(tools, image, mask, sink, recipe, options)
            return Done(result.arguments, result.notes, sink.data)
        picture = open_picture(image, mask, options)
        with tools.open(picture.image, picture.mask, brief=True) as frame:
            arguments, concerns = recipe.follow(frame, picture.mask)
        return Done(arguments, (*picture.notes, *(f"{image}: {concern}" for concern in concerns)))
