"""The first that sees a request: who asks, how much comes, how many at a time, and how it ended."""

import asyncio
import contextlib
import math
import re
import time
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from harmonizer.serve.answers import RefusedError
from harmonizer.serve.settings import Settings
from harmonizer.serve.watch import LOG, PATHS, Figures

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

KEY_HEADER = "x-api-key"
ID_HEADER = "x-request-id"
MOST_HEAD_BYTES = 1 << 14
"""Of a request's headers together; an unfinished head with more is answered with 400."""

_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_MOST_RETRY = 120
_DRAINED_BYTES, _DRAINED_SECONDS = 4 << 20, 2.0


class Guard:
    """ASGI middleware around the application.

    Args:
        app: What is guarded.
        settings: Limits.
        figures: Where requests are counted.
    """

    def __init__(self, app: App, settings: Settings, figures: Figures) -> None:
        self._app = app
        self._settings = settings
        self._figures = figures
        self._taken = 0
        self._mean_seconds = 0.5

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Take a request, or refuse it before its body is read."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, path = time.monotonic(), scope["path"]
        headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]}
        wanted = headers.get(ID_HEADER, "")
        request_id = wanted if _ID.fullmatch(wanted) else uuid.uuid4().hex
        scope["request_id"] = request_id
        seen = {"status": 0, "in": 0, "out": 0}

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                seen["status"] = message["status"]
                message["headers"] = [
                    *message["headers"],
                    (ID_HEADER.encode(), request_id.encode()),
                    (b"x-content-type-options", b"nosniff"),
                ]
            seen["out"] += len(message.get("body", b""))
            await send(message)

        try:
            if sum(len(k) + len(v) for k, v in scope["headers"]) > MOST_HEAD_BYTES:
                raise RefusedError(
                    431,
                    f"a request's head must have at most {MOST_HEAD_BYTES:,} bytes; it has more. "
                    "Leave headers out.",
                    Connection="close",
                )
            if path in PATHS:
                await self._take(scope, headers, self._limited(receive, seen), answer)
            else:
                await self._app(scope, receive, answer)
        except RefusedError as refusal:
            if not seen["status"]:
                if "expect" not in headers:  # then nothing is sent before it is asked for
                    await _drain(receive)
                await refusal.answer(request_id)(scope, receive, answer)
        finally:
            seconds = time.monotonic() - began
            self._figures.finished(path, seen["status"], seconds)
            if path in PATHS or seen["status"] >= 400:
                self._log(scope, request_id, seen, seconds)

    async def _take(
        self, scope: Message, headers: dict[str, str], receive: Receive, send: Send
    ) -> None:
        keys, most = self._settings.keys, self._settings.max_bytes
        if keys is not None and not keys.hold(headers.get(KEY_HEADER, "")):
            raise RefusedError(
                401,
                "the request must have a known key in the header X-API-Key; it has none. Ask who "
                "runs this service for one.",
                WWW_Authenticate="X-API-Key",
                Connection="close",
            )
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length) > most:
            raise _too_large(most)
        if self._taken >= self._settings.queue:
            again = math.ceil(self._taken * self._mean_seconds / self._settings.jobs)
            raise RefusedError(
                429,
                f"the service takes {self._settings.queue} requests at a time, and has that many. "
                "Ask again after the seconds in Retry-After.",
                Retry_After=str(min(max(again, 1), _MOST_RETRY)),
                Connection="close",
            )
        self._taken += 1
        self._figures.taken.set(self._taken)
        began = time.monotonic()
        try:
            await self._app(scope, receive, send)
        finally:
            self._taken -= 1
            self._figures.taken.set(self._taken)
            self._mean_seconds += 0.1 * (time.monotonic() - began - self._mean_seconds)

    def _limited(self, receive: Receive, seen: dict[str, int]) -> Receive:
        """What brings a body, as long as it is small enough and comes in time."""
        settings, ended = self._settings, False
        deadline = asyncio.get_running_loop().time() + settings.body_seconds

        async def limited() -> Message:
            nonlocal ended
            if ended:
                return await receive()  # when the client goes
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                raise RefusedError(
                    408,
                    f"a request's body must come within {settings.body_seconds:g} seconds; "
                    f"{seen['in']:,} bytes came. Send a smaller one, or over a faster line.",
                    Connection="close",
                ) from None
            seen["in"] += len(message.get("body", b""))
            if seen["in"] > settings.max_bytes:
                raise _too_large(settings.max_bytes)
            ended = not message.get("more_body", False)
            return message

        return limited

    def _log(self, scope: Message, request_id: str, seen: dict[str, int], seconds: float) -> None:
        fields = {
            "request_id": request_id,
            "client": (scope.get("client") or ("",))[0],
            "method": scope["method"],
            "path": scope["path"][:200],
            "status": seen["status"],
            "bytes_in": seen["in"],
            "bytes_out": seen["out"],
            "ms": round(1000 * seconds, 1),
            **scope.get("said", {}),
        }
        LOG.info("request", extra={"fields": fields})


async def _drain(receive: Receive) -> None:
    """Take a little of a body that is not wanted: who still sends does not see an answer."""
    left = _DRAINED_BYTES
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_DRAINED_SECONDS):
            while left > 0:
                message = await receive()
                left -= len(message.get("body", b""))
                if not message.get("more_body", False):
                    return


def _too_large(most: int) -> RefusedError:
    return RefusedError(
        413,
        f"a request's body must have at most {most:,} bytes; it has more. Send smaller files.",
        Connection="close",
    )
