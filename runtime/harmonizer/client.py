"""A client of `harmonizer serve`, of the standard library alone.

with Client("http://127.0.0.1:8000") as client:
    client.harmonize("composite.jpg", "mask.png", form="JPEG").save("out.jpg")
"""

import json
import socket
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from urllib.parse import urlsplit

from harmonizer.arguments import Arguments
from harmonizer.errors import HarmonizerError

File = str | Path | bytes
Field = str | float | bool

_LONGEST_WAIT, _PAUSE = 120.0, 0.5


class ServiceError(HarmonizerError):
    """The service refused a request, or cannot be reached.

    Attributes:
        status: HTTP's; 0 if there was no answer.
        request_id: What the service's log calls it; empty if there was no answer.
    """

    def __init__(self, message: str, status: int = 0, request_id: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.request_id = request_id


@dataclass(frozen=True, slots=True)
class Answer:
    """A picture's file, the arguments that were drawn, and what a person should know."""

    data: bytes
    arguments: Arguments
    notes: tuple[str, ...]
    request_id: str

    def save(self, path: str | Path) -> None:
        """Write the picture's file."""
        Path(path).write_bytes(self.data)


class Client:
    """A connection; for one thread at a time.

    Args:
        url: Where the service is, such as "http://127.0.0.1:8000".
        key: Shown in X-API-Key.
        timeout: Seconds without an answer.
        patience: Seconds to go on asking a service that is full (429, 503), or was there and is
            lost: whose connection broke, or of which a proxy says so. To ask twice does no harm.
    """

    def __init__(
        self, url: str, key: str | None = None, timeout: float = 120.0, patience: float = 60.0
    ) -> None:
        place = urlsplit(url)
        if place.scheme not in ("http", "https") or not place.hostname:
            raise ValueError(f"`url` must be http://HOST:PORT or https://; got {url!r}.")
        kind = HTTPSConnection if place.scheme == "https" else HTTPConnection
        self._connection = kind(place.hostname, place.port, timeout=timeout)
        self._prefix, self._patience = place.path.rstrip("/"), patience
        self._headers = {} if key is None else {"X-API-Key": key}

    def harmonize(
        self,
        image: File,
        mask: File | None = None,
        background: File | None = None,
        form: str = "PNG",
        **fields: Field,
    ) -> Answer:
        """Predict and draw.

        Args:
            image: Path or bytes of a composite; with `background`, of a cut-out.
            mask: The same of a mask; None for the image's alpha channel.
            background: What a cut-out is put on.
            form: PNG, JPEG, WebP, AVIF, TIFF or JXL.
            fields: strength, at, anchor, scale, ...: docs/serving.md.

        Raises:
            ServiceError: If the service refuses it, or cannot be reached.
            OSError: If a file cannot be read.
        """
        return self._draw("/harmonize", image, mask, background, form, fields)

    def render(
        self,
        image: File,
        mask: File | None,
        arguments: Arguments | Mapping[str, float],
        background: File | None = None,
        form: str = "PNG",
        **fields: Field,
    ) -> Answer:
        """Draw arguments; as `harmonize` otherwise.

        Raises:
            ServiceError, OSError: As `harmonize` does.
        """
        own = isinstance(arguments, Arguments)
        document = arguments.document() if own else dict(arguments)  # type: ignore[union-attr]
        fields["arguments"] = json.dumps(document)
        return self._draw("/render", image, mask, background, form, fields)

    def predict(self, image: File, mask: File | None = None, **fields: Field) -> Arguments:
        """Predict alone.

        Raises:
            ServiceError, OSError: As `harmonize` does.
        """
        data, _ = self._post("/predict", {"image": image, "mask": mask}, fields, "application/json")
        document = json.loads(data)
        document.pop("notes")
        return Arguments.from_document(document)

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *ended: object) -> None:
        self.close()

    def _draw(
        self,
        path: str,
        image: File,
        mask: File | None,
        background: File | None,
        form: str,
        fields: dict[str, Field],
    ) -> Answer:
        files = {"image": image, "mask": mask, "background": background}
        data, headers = self._post(path, files, fields, f"image/{form.lower()}")
        values = json.loads(headers["harmonizer-arguments"])
        arguments = Arguments.from_mapping(values, tuple(values))
        notes = tuple(json.loads(headers["harmonizer-notes"]))
        return Answer(data, arguments, notes, headers["x-request-id"])

    def _post(
        self, path: str, files: Mapping[str, File | None], fields: Mapping[str, Field], accept: str
    ) -> tuple[bytes, dict[str, str]]:
        body, kind = multipart(files, fields)
        headers = {**self._headers, "Content-Type": kind, "Accept": accept}
        end, lost = time.monotonic() + self._patience, False
        while True:
            try:
                status, data, found = self._ask(path, body, headers)
                lost = True  # it was there: it may come back
            except (OSError, HTTPException) as error:
                lost = lost or not isinstance(error, ConnectionRefusedError | socket.gaierror)
                if not lost or time.monotonic() + _PAUSE > end:
                    host = f"{self._connection.host}:{self._connection.port}"
                    raise ServiceError(f"{host} must answer; it does not ({error}).") from error
                time.sleep(_PAUSE)
                continue
            if status == 200:
                return data, found
            detail = _detail(data)
            again = status in (429, 502, 503, 504) or (status == 500 and not detail)
            wait = min(float(found.get("retry-after", _PAUSE)), _LONGEST_WAIT)
            if not again or time.monotonic() + wait > end:
                said = detail or f"the service answered {status}"
                raise ServiceError(said, status, found.get("x-request-id", ""))
            time.sleep(wait)

    def _ask(
        self, path: str, body: bytes, headers: dict[str, str]
    ) -> tuple[int, bytes, dict[str, str]]:
        try:
            self._connection.request("POST", self._prefix + path, body, headers)
            response = self._connection.getresponse()
            data = response.read()
        except (OSError, HTTPException):
            self._connection.close()
            raise
        return response.status, data, {k.lower(): v for k, v in response.getheaders()}


def _detail(data: bytes) -> str:
    try:
        return str(json.loads(data)["detail"])
    except (ValueError, KeyError, TypeError):
        return ""


def multipart(files: Mapping[str, File | None], fields: Mapping[str, Field]) -> tuple[bytes, str]:
    """A body of multipart/form-data, and its media type."""
    boundary, parts = uuid.uuid4().hex, []
    for name, file in files.items():
        if file is not None:
            data = file if isinstance(file, bytes) else Path(file).read_bytes()
            head = f'Content-Disposition: form-data; name="{name}"; filename="{name}"'
            parts.append((head, data))
    for name, value in fields.items():
        text = str(value).lower() if isinstance(value, bool) else str(value)
        parts.append((f'Content-Disposition: form-data; name="{name}"', text.encode()))
    body = b"".join(
        b"--%s\r\n%s\r\n\r\n%s\r\n" % (boundary.encode(), head.encode(), data)
        for head, data in parts
    )
    return body + b"--%s--\r\n" % boundary.encode(), f"multipart/form-data; boundary={boundary}"
