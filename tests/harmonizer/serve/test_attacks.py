"""What an attacker sends, and what a real server answers: docs/serving.md has this table."""

import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from repository import ROOT
from service import Service, head, read_answer, serving

pytest.importorskip("fastapi", reason="harmonizer[serve] is not installed")

from harmonizer.client import File, multipart
from harmonizer.serve.answers import for_users

pytestmark = pytest.mark.long

MOST_BYTES = 2_000_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("attacked")


@pytest.fixture(scope="module")
def service(folder: Path) -> Iterator[Service]:
    limits = f"--max-bytes {MOST_BYTES} --max-pixels 4000000 --head-seconds 2 --body-seconds 3"
    with serving(folder, *limits.split()) as started:
        yield started


def png(width: int, height: int, data: bytes) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        crc = zlib.crc32(kind + content).to_bytes(4, "big")
        return len(content).to_bytes(4, "big") + kind + content + crc

    size = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    parts = chunk(b"IHDR", size + b"\x08\x02\0\0\0") + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def posted(body: bytes, kind: str, path: str = "/harmonize", **headers: str) -> bytes:
    return head("POST", path, len(body), Content_Type=kind, **headers) + body


def parts(files: dict[str, File], path: str = "/harmonize", **fields: str) -> bytes:
    return posted(*multipart(files, fields), path)


def raw_parts(*written: bytes, path: str = "/harmonize") -> bytes:
    body = b"".join(b"--b\r\n" + part + b"\r\n" for part in written) + b"--b--\r\n"
    return posted(body, "multipart/form-data; boundary=b", path)


SMALL = png(8, 8, zlib.compress((b"\0" + bytes(24)) * 8))
IMAGE = b'Content-Disposition: form-data; name="image"; filename="i"\r\n'
CHUNKED = b"POST /harmonize HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: image/png\r\n"
CHUNKED += b"Transfer-Encoding: chunked\r\n\r\n"

ATTEMPTS: dict[str, tuple[Callable[[], bytes], int, str]] = {
    "a file name that climbs out of its folder": (
        lambda: raw_parts(
            IMAGE.replace(b'"i"', b'"../../../x.png"') + b"\r\n" + SMALL,
            IMAGE.replace(b"image", b"mask").replace(b'"i"', b'"/etc/x"') + b"\r\n" + SMALL,
        ),
        200,
        "",
    ),
    "an address in place of a file": (
        lambda: parts({}, image="http://169.254.169.254/latest/"),
        422,
        "no address is fetched",
    ),
    "a model by its address": (
        lambda: parts({"image": SMALL}, model="https://example.org/x.onnx"),
        422,
        "got 'model'. Leave it out.",
    ),
    "a part that is not known": (lambda: parts({"exec": b"x"}), 422, "got 'exec'"),
    "a part twice": (
        lambda: raw_parts(*[IMAGE + b"\r\n" + SMALL] * 2),
        422,
        "`image` must come once",
    ),
    "10,000 parts": (
        lambda: raw_parts(*[b'Content-Disposition: form-data; name="at"\r\n\r\n1'] * 10_000),
        422,
        "Too many fields",
    ),
    "a part with a head of 1 MB": (
        lambda: raw_parts(IMAGE + b"X-A: " + b"a" * 1_000_000 + b"\r\n\r\nx"),
        422,
        "the multipart body must be whole",
    ),
    "a text of 1 MB": (lambda: parts({}, arguments="1" * 1_000_000), 422, "maximum size"),
    "a multipart body without its boundary": (
        lambda: posted(b"x" * 100, "multipart/form-data"),
        422,
        "the multipart body must be whole",
    ),
    "a multipart body that is cut off": (
        lambda: posted(b"--b\r\n" + IMAGE + b"\r\nabc", "multipart/form-data; boundary=b"),
        422,
        "must have the file `image`",
    ),
    "more bytes than are taken, announced": (
        lambda: posted(b"x" * (MOST_BYTES + 1), "image/png"),
        413,
        "at most 2,000,000 bytes",
    ),
    "more bytes than are taken, in chunks": (
        lambda: CHUNKED + b"10000\r\n%s\r\n" % bytes(1 << 16) * 40 + b"0\r\n\r\n",
        413,
        "at most 2,000,000 bytes",
    ),
    "a picture that says it has 3,600,000,000 pixels": (
        lambda: parts({"image": png(60_000, 60_000, zlib.compress(b"x")), "mask": SMALL}),
        422,
        "at most 4,000,000 pixels",
    ),
    "a picture whose data unpack to 200 MB": (
        lambda: parts({"image": png(8, 8, zlib.compress(bytes(200 << 20))), "mask": SMALL}),
        422,
        "`image` must be",
    ),
    "a web page as a picture": (lambda: parts({"image": b"<html>"}), 422, "`image` must be a JPEG"),
    "an SVG that names a file": (
        lambda: parts({"image": b'<svg><image href="file:///etc/passwd"/></svg>'}),
        422,
        "`image` must be a JPEG",
    ),
    "JSON in place of a form": (
        lambda: posted(b"{}", "application/json"),
        415,
        "it is 'application/json'",
    ),
    "nothing": (lambda: posted(b"", "multipart/form-data; boundary=b"), 422, "file `image`"),
    "arguments that nest 100,000 levels": (
        lambda: parts({"image": SMALL}, "/render", arguments="[" * 30_000),
        422,
        "`arguments` must be JSON",
    ),
    "arguments that are not finite": (
        lambda: parts({"image": SMALL}, "/render", arguments='{"brightness": NaN}'),
        422,
        "brightness",
    ),
    "a strength that is no number": (
        lambda: parts({"image": SMALL, "mask": SMALL}, strength="nan"),
        422,
        "`strength` must lie in [0, 1.5]",
    ),
    "a scale of 10^9": (
        lambda: parts({"image": SMALL, "mask": SMALL, "background": SMALL}, scale="1e9"),
        422,
        "`scale` must lie in",
    ),
    "a head of 20 KB": (
        lambda: head("GET", "/healthz", 0, X_A="a" * 20_000),
        431,
        "at most 16,384 bytes",
    ),
    "a head of 1 MB": (lambda: head("GET", "/healthz", 0, X_A="a" * 1_000_000), 400, "Invalid"),
    "no HTTP": (lambda: b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400, "Invalid"),
    "two lengths of one body": (
        lambda: CHUNKED.replace(b"\r\n\r\n", b"\r\nContent-Length: 3\r\n\r\n") + b"0\r\n\r\n",
        422,
        "",
    ),
    "a path that climbs": (lambda: head("GET", "/../../etc/passwd", 0), 404, ""),
    "a page of another origin that asks": (
        lambda: head(
            "OPTIONS", "/harmonize", 0, Origin="http://a", Access_Control_Request_Method="POST"
        ),
        405,
        "",
    ),
    "an answer that is not a picture": (
        lambda: posted(SMALL, "image/png", Accept="text/html"),
        406,
        "Accept must name one of image/png",
    ),
}


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_attempt_is_answered(service: Service, folder: Path, attempt: str) -> None:
    made, status, said = ATTEMPTS[attempt]
    began = time.monotonic()
    came, headers, body = service.send(made())
    assert came == status, body[:300]
    assert said in body.decode("latin-1") and "Traceback" not in body.decode("latin-1")
    assert "max_pixels" not in body.decode("latin-1") and time.monotonic() - began < 30
    assert "access-control-allow-origin" not in headers
    assert not list(folder.iterdir())


def test_documentation_has_the_table_of_attempts() -> None:
    text = (ROOT / "docs/serving.md").read_text()
    for attempt, (_, status, _) in ATTEMPTS.items():
        assert f"\n| {attempt} | {status} |" in text


def test_body_that_does_not_come_is_answered_in_time(service: Service) -> None:
    with service.connect() as connection:
        connection.sendall(head("POST", "/harmonize", 1000, Content_Type="image/png") + b"abc")
        status, _, body = read_answer(connection)
    assert status == 408 and b"within 3 seconds; 3 bytes came" in body


@pytest.mark.parametrize("start", [b"", b"GET /healthz HT", b"GET /healthz HTTP/1.1\r\nA: b\r\n"])
def test_head_that_does_not_come_ends_the_connection(service: Service, start: bytes) -> None:
    with service.connect() as connection:
        connection.sendall(start)
        began = time.monotonic()
        assert read_answer(connection)[0] == 0
    assert 1 < time.monotonic() - began < 20


def test_head_letter_by_letter_ends_the_connection(service: Service) -> None:
    with service.connect() as connection:
        began = time.monotonic()
        with pytest.raises(OSError):
            for _ in range(100):
                connection.sendall(b"G")
                time.sleep(0.2)
    assert time.monotonic() - began < 20


def test_senders_who_go_leave_nothing(service: Service) -> None:
    for _ in range(20):
        with service.connect() as connection:
            connection.sendall(head("POST", "/harmonize", 9000, Content_Type="image/png") + b"abc")
    end = time.monotonic() + 30
    while service.figure("harmonizer_requests_taken"):
        assert time.monotonic() < end
    assert service.ask("GET", "/readyz")[0] == 200


def test_service_lives_on_and_failed_on_nothing(service: Service) -> None:
    mask = png(8, 8, zlib.compress((b"\0" + b"\xff" * 12 + bytes(12)) * 8))
    status, _, body = service.send(parts({"image": SMALL, "mask": mask}))
    assert status == 200 and body.startswith(b"\x89PNG")
    wrong = [line for line in service.lines if line["level"] not in ("info", "warning")]
    assert not wrong and not any(line.get("status") == 500 for line in service.lines)


def test_for_users_leaves_out_what_operators_do() -> None:
    said = "a must have 4 pixels; it has 9. Scale it down, or pass `max_pixels=9`."
    assert for_users(said) == "a must have 4 pixels; it has 9. Scale it down."
