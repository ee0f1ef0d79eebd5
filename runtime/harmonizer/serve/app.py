"""The application: which path does what. `harmonizer serve` runs it; so can any ASGI server."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import ClientDisconnect

from harmonizer import Harmonizer, HarmonizerError, __version__
from harmonizer.serve.answers import RefusedError, for_users
from harmonizer.serve.guard import Guard
from harmonizer.serve.parts import FIELDS, FILES, Parts, read_parts
from harmonizer.serve.settings import Settings
from harmonizer.serve.watch import LOG, Figures
from harmonizer.serve.work import Done, Workshop

KINDS = {
    "image/png": ".png",
    "image/jpeg": ".jpg",
    "image/webp": ".webp",
    "image/avif": ".avif",
    "image/tiff": ".tif",
    "image/jxl": ".jxl",
}
"""What Accept may ask for -> the suffix of its format; the first where anything will do."""


def create_app(harmonizer: Harmonizer, settings: Settings) -> FastAPI:
    """The service around a network and a renderer, which stay the caller's to close."""
    figures = Figures()
    state: dict[str, Workshop] = {}

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        state["workshop"] = Workshop(harmonizer, settings, figures)
        yield
        state.pop("workshop").close()

    app = FastAPI(
        title="harmonizer",
        version=__version__,
        description="Make the pasted foreground of a composite look as if it belonged there.",
        lifespan=life,
        docs_url=None,  # it would load programs from elsewhere
        redoc_url=None,
    )
    app.add_middleware(Guard, settings=settings, figures=figures)

    async def answer(request: Request, drawn: bool, given: bool = False) -> Response:
        suffix, kind = accepted(request.headers.get("accept", "*/*")) if drawn else (None, "")
        parts = await read_parts(request)
        try:
            _check_given(parts, given)
            workshop = state["workshop"]
            done = await (workshop.draw(parts, suffix) if suffix else workshop.predict(parts))
        finally:
            parts.close()
        request.scope["said"] = {"notes": len(done.notes)}
        if not suffix:
            return Response(json.dumps(_document(done)), media_type="application/json")
        headers = {
            "Harmonizer-Arguments": json.dumps(done.arguments.document()["arguments"]),
            "Harmonizer-Notes": json.dumps(done.notes),
        }
        return Response(done.data, media_type=kind, headers=headers)

    @app.post("/harmonize", openapi_extra=_body(), responses=_answers(True))
    async def harmonize(request: Request) -> Response:
        """Predict and draw; the picture comes with its arguments in Harmonizer-Arguments."""
        return await answer(request, drawn=True)

    @app.post("/predict", openapi_extra=_body(), responses=_answers(False))
    async def predict(request: Request) -> Response:
        """Predict arguments; no picture is drawn."""
        return await answer(request, drawn=False)

    @app.post("/render", openapi_extra=_body("arguments"), responses=_answers(True))
    async def render(request: Request) -> Response:
        """Draw the arguments that are sent; nothing is predicted."""
        return await answer(request, drawn=True, given=True)

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        """Whether the process answers."""
        return {"status": "alive", "version": __version__}

    @app.get("/readyz")
    async def readyz() -> dict[str, str]:
        """Whether pictures are taken: the model is loaded."""
        _check_begun(state)
        return {"status": "ready", "backend": harmonizer.backend}

    @app.get("/metrics")
    async def metrics() -> Response:
        """Figures in the text form of Prometheus."""
        return Response(generate_latest(figures.registry), media_type=CONTENT_TYPE_LATEST)

    @app.exception_handler(RefusedError)
    async def refused(request: Request, refusal: RefusedError) -> Response:
        request.scope["said"] = {"refused": refusal.detail}
        return refusal.answer(request.scope["request_id"])

    @app.exception_handler(HarmonizerError)
    async def not_harmonized(request: Request, error: HarmonizerError) -> Response:
        return await refused(request, RefusedError(422, for_users(str(error))))

    @app.exception_handler(MemoryError)
    async def no_memory(request: Request, error: MemoryError) -> Response:
        said = "there must be memory for the picture; it ran out. Send a smaller one, or ask later."
        return await refused(request, RefusedError(503, said, Retry_After="10"))

    @app.exception_handler(ClientDisconnect)
    async def gone(request: Request, error: ClientDisconnect) -> Response:
        return await refused(
            request, RefusedError(400, "the body must be whole; its sender has gone.")
        )

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> Response:
        request_id = request.scope.get("request_id", "")
        LOG.error("failed", exc_info=error, extra={"fields": {"request_id": request_id}})
        said = "the service must not fail on a request; it did. Report it with the request's id."
        return RefusedError(500, said).answer(request_id)

    return app


def accepted(accept: str) -> tuple[str, str]:
    """The suffix and the media type of what is sent.

    Raises:
        RefusedError: If Accept names none of `KINDS`.
    """
    for kind in (part.partition(";")[0].strip().lower() for part in accept.split(",")):
        if kind in KINDS:
            return KINDS[kind], kind
        if kind in ("*/*", "image/*", ""):
            first = next(iter(KINDS))
            return KINDS[first], first
    raise RefusedError(
        406,
        f"Accept must name one of {', '.join(KINDS)}; got {accept[:60]!r}. Name one; arguments "
        "alone come from /predict.",
    )


def _check_begun(state: Mapping[str, Workshop]) -> None:
    if "workshop" not in state:
        raise RefusedError(503, "the service must have begun; it has not, or it ends.")


def _check_given(parts: Parts, given: bool) -> None:
    if given and "arguments" not in parts.fields:
        raise RefusedError(422, "the request must have the field `arguments`; it has none.")


def _document(done: Done) -> dict[str, object]:
    return {**done.arguments.document(), "notes": list(done.notes)}


def _body(*needed: str) -> dict[str, Any]:
    """OpenAPI's description of what is posted."""
    picture = {"type": "string", "format": "binary"}
    schema = {
        "type": "object",
        "properties": {
            **dict.fromkeys(FILES, picture),
            **{name: {"type": "string"} for name in FIELDS},
        },
        "required": ["image", *needed],
        "additionalProperties": False,
    }
    content: dict[str, Any] = {"multipart/form-data": {"schema": schema}}
    if not needed:
        content["image/*"] = {"schema": picture}
    return {"requestBody": {"required": True, "content": content}}


def _answers(drawn: bool) -> dict[int | str, dict[str, Any]]:
    """OpenAPI's description of what comes back."""
    picture = {"schema": {"type": "string", "format": "binary"}}
    document = {"application/json": {"schema": {"type": "object"}}}
    said: dict[int | str, dict[str, Any]] = {
        200: {"content": dict.fromkeys(KINDS, picture) if drawn else document}
    }
    refusals = {
        401: "No known key.",
        406: "No kind of picture that is written.",
        408: "The body did not come in time.",
        413: "The body has too many bytes.",
        415: "The body is neither multipart/form-data nor an image.",
        422: "A part is wrong: what, the rule, what came, the remedy.",
        429: "Too many requests at a time; Retry-After says when to ask again.",
        503: "Its turn did not come in time, or memory ran out.",
    }
    for status, text in refusals.items():
        said[status] = {"description": text, "content": document}
    return said
