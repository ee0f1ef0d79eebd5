"""`harmonizer serve` as its users and operators meet it: a real server on loopback."""

import json
import logging
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from service import Service, head, read_answer, serving

pytest.importorskip("fastapi", reason="harmonizer[serve] is not installed")

from harmonizer import Harmonizer
from harmonizer.cli import main
from harmonizer.client import Client, ServiceError, multipart
from harmonizer.images.cutouts import Placing

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving(tmp_path_factory.mktemp("service"), "--threads", "1") as started:
        yield started


@pytest.fixture(scope="module")
def harmonizer() -> Iterator[Harmonizer]:
    with Harmonizer(backend="cpu", threads=1) as made:
        yield made


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WebP"])
def test_harmonize_answers_what_the_library_writes(
    service: Service, harmonizer: Harmonizer, scene: Path, form: str
) -> None:
    with service.client() as client:
        answer = client.harmonize("c.jpg", "m.png", form=form, strength=0.7)
    wanted = harmonizer.harmonize_file("c.jpg", "m.png", form=form, strength=0.7)
    assert answer.data == wanted.data
    assert answer.arguments == wanted.arguments.clamped()


def test_predict_answers_arguments_and_render_draws_them(
    service: Service, harmonizer: Harmonizer, scene: Path
) -> None:
    with service.client() as client:
        arguments = client.predict("c.jpg", "m.png")
        whole = client.harmonize("c.jpg", "m.png")
        again = client.render("c.jpg", "m.png", arguments)
        own = client.render("c.jpg", "m.png", {"brightness": 0.3})
    assert arguments == whole.arguments and again.data == whole.data
    wanted = harmonizer.harmonize_file("c.jpg", "m.png", arguments=own.arguments)
    assert own.data == wanted.data and own.arguments["brightness"] == 0.3


def test_cutout_is_placed_on_a_background(
    service: Service, harmonizer: Harmonizer, scene: Path
) -> None:
    with service.client() as client:
        how = {"at": "30%,80%", "anchor": "bottom"}
        answer = client.harmonize("rgba.png", background="c.jpg", form="PNG", scale=0.5, **how)
    placing = Placing("c.jpg", ("30%", "80%"), "bottom", 0.5)
    assert answer.data == harmonizer.harmonize_file("rgba.png", placing=placing).data


def test_body_may_be_the_picture_itself(
    service: Service, harmonizer: Harmonizer, scene: Path
) -> None:
    data = Path("rgba.png").read_bytes()
    status, headers, body = service.ask("POST", "/harmonize", data, Content_Type="image/png")
    assert (status, headers["content-type"]) == (200, "image/png")
    assert body == harmonizer.harmonize_file(data).data


def test_large_file_goes_to_the_disk_and_comes_back(service: Service, tmp_path: Path) -> None:
    grain = np.random.default_rng(3).integers(0, 256, (900, 900, 3), np.uint8)
    Image.fromarray(grain).save(tmp_path / "c.png")  # more than what is held in memory
    mask = np.zeros((900, 900), np.uint8)
    mask[:, :300] = 255
    Image.fromarray(mask).save(tmp_path / "m.png")
    with service.client() as client:
        answer = client.render(tmp_path / "c.png", tmp_path / "m.png", {"brightness": -0.2})
        answer.save(tmp_path / "o.png")
    drawn = np.asarray(Image.open(tmp_path / "o.png"))
    assert np.array_equal(drawn[:, 300:], grain[:, 300:])
    assert not np.array_equal(drawn[:, :300], grain[:, :300])


def test_refusal_says_what_to_do_and_which_request_it_was(service: Service, scene: Path) -> None:
    body, kind = multipart({"image": b"<html>"}, {})
    told = {"Content_Type": kind, "X_Request_Id": "mine-1"}
    status, headers, answer = service.ask("POST", "/harmonize", body, **told)
    said = json.loads(answer)
    assert status == 422 and headers["x-request-id"] == said["request_id"] == "mine-1"
    assert said["detail"].startswith("`image` must be a JPEG, PNG")
    line = service.line(request_id="mine-1")
    assert (line["message"], line["status"], line["path"]) == ("request", 422, "/harmonize")
    assert line["bytes_in"] == len(body) and line["refused"] == said["detail"]
    told["X_Request_Id"] = "with space"
    assert service.ask("POST", "/harmonize", body, **told)[1]["x-request-id"] != "with space"


def test_operators_see_health_figures_and_a_description(service: Service, scene: Path) -> None:
    assert json.loads(service.ask("GET", "/healthz")[2])["status"] == "alive"
    assert json.loads(service.ask("GET", "/readyz")[2]) == {"status": "ready", "backend": "cpu"}
    before = service.figure("harmonizer_pixels_total")
    with service.client() as client:
        client.predict("c.jpg", "m.png")
    height, width = np.asarray(Image.open("c.jpg")).shape[:2]
    assert service.figure("harmonizer_pixels_total") - before == height * width
    assert service.figure("harmonizer_requests_taken") == 0
    paths = json.loads(service.ask("GET", "/openapi.json")[2])["paths"]
    assert {"/harmonize", "/predict", "/render", "/healthz", "/readyz", "/metrics"} <= paths.keys()
    asked = paths["/render"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert asked["required"] == ["image", "arguments"] and "background" in asked["properties"]
    assert {"200", "413", "422", "429"} <= paths["/harmonize"]["post"]["responses"].keys()


def half_sent(service: Service) -> tuple[socket.socket, bytes]:
    """A connection whose request is half there, and the rest of it."""
    files = {"image": Path("c.jpg").read_bytes(), "mask": Path("m.png").read_bytes()}
    body, kind = multipart(files, {})
    connection = service.connect()
    connection.sendall(head("POST", "/harmonize", len(body), Content_Type=kind) + body[:100])
    return connection, body[100:]


def test_full_service_says_when_to_ask_again_and_loses_nothing(scene: Path, tmp_path: Path) -> None:
    with serving(tmp_path, "--jobs", "1", "--queue", "1") as service:
        connection, rest = half_sent(service)
        while service.figure("harmonizer_requests_taken") < 1:
            pass
        with service.client(patience=0) as client, pytest.raises(ServiceError) as refused:
            client.predict("c.jpg", "m.png")
        assert refused.value.status == 429 and refused.value.request_id
        body, kind = multipart({"image": b"x"}, {})
        status, headers, _ = service.ask("POST", "/predict", body, Content_Type=kind)
        assert status == 429 and 1 <= int(headers["retry-after"]) <= 120
        threading.Timer(1.0, connection.sendall, [rest]).start()
        with service.client() as client:  # asks again until it is its turn
            assert client.predict("c.jpg", "m.png")
        with connection:
            assert read_answer(connection)[0] == 200


def test_end_of_the_service_finishes_what_it_has_taken(scene: Path, tmp_path: Path) -> None:
    with serving(tmp_path) as service:
        connection, rest = half_sent(service)
        while service.figure("harmonizer_requests_taken") < 1:
            pass
        service.process.send_signal(signal.SIGTERM)
        service.line(message="Shutting down")
        with connection:
            connection.sendall(rest)
            status, _, body = read_answer(connection)
        assert status == 200 and body.startswith(b"\x89PNG")
        assert service.process.wait(60) == 0
        with pytest.raises(OSError):
            service.connect()


def test_service_that_is_killed_in_a_request_serves_again_and_the_client_gets_its_picture(
    scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    grain = np.random.default_rng(3).integers(0, 256, (1500, 1500, 3), np.uint8)
    Image.fromarray(np.dstack([grain, grain[..., 0]])).save(tmp_path / "large.png")
    (tmp_path / "alone").mkdir()
    with serving(tmp_path / "alone", "--threads", "1") as other, other.client() as client:
        wanted = client.harmonize(tmp_path / "large.png").data
    answers: list[bytes] = []
    with serving(tmp_path, "--threads", "1") as service:
        client = service.client()
        asking = threading.Thread(
            target=lambda: answers.append(client.harmonize(tmp_path / "large.png").data)
        )
        impatient = service.client(patience=0)
        failed: list[ServiceError] = []

        def ask_once() -> None:
            try:
                impatient.harmonize(tmp_path / "large.png")
            except ServiceError as error:
                failed.append(error)

        once = threading.Thread(target=ask_once)
        asking.start()
        once.start()
        while service.figure("harmonizer_pictures_in_work") < 1:
            pass
        assert service.stop(signal.SIGKILL) == -signal.SIGKILL
        once.join(60)
        assert failed and failed[0].status == 0 and "must answer" in str(failed[0])
        assert list((tmp_path / "temporary").iterdir()) == []  # what was sent is gone with it
        with serving(tmp_path, "--port", str(service.port), "--threads", "1"):
            asking.join(60)
            client.close()
    assert answers == [wanted]


def test_keys_of_a_file_are_needed_where_there_is_one(scene: Path, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("# two of them\n0123456789abcdef-one\n0123456789abcdef-two # for tests\n")
    with serving(tmp_path, "--keys", str(keys)) as service:
        for key, status in ((None, 401), ("0123456789abcdef", 401), ("0123456789abcdef-two", 0)):
            with service.client(key=key) as client:
                if status:
                    with pytest.raises(ServiceError, match="X-API-Key") as refused:
                        client.predict("c.jpg", "m.png")
                    assert refused.value.status == status
                else:
                    assert client.predict("c.jpg", "m.png")
        assert service.ask("GET", "/readyz")[0] == 200
        assert "0123456789abcdef" not in json.dumps(service.lines)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "must hold a key"),
        ("# none\n", "must hold a key"),
        ("short\n", "must have at least 16 letters; key 1 has 5"),
        ("\u00e9" * 20, "must be a readable file of keys in ASCII"),
        (None, "must be a readable file of keys"),
    ],
)
def test_file_of_keys_with_a_mistake_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | None, said: str
) -> None:
    if text is not None:
        (tmp_path / "keys").write_text(text, encoding="utf-8")
    assert main(["serve", "--port", "0", "--keys", str(tmp_path / "keys")]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--port 70000", "--port must lie in 0..65535; got 70000. Name another"),
        ("--host 203.0.113.7", "Name 127.0.0.1, or 0.0.0.0 for all."),
        ("--host 999.1.1.1", "--host must be a name or an address of this machine; 999.1.1.1 is"),
        (f"--host {'a' * 70}", "is not known"),
        ("--jobs 4 --queue 2", "--queue must be at least --jobs, 4; got 2. Raise it"),
        ("--body-seconds 0", "must lie above 0 and up to 3600"),
        ("--model nowhere.onnx", "nowhere.onnx"),
        ("--port 0 --label food", "--label must go with a model that reads one"),
    ],
)
def test_command_line_that_cannot_be_served_is_refused(
    capsys: pytest.CaptureFixture[str], words: str, said: str
) -> None:
    before = logging.getLogger().handlers[:]
    assert main(["serve", *words.split()]) == 2
    assert said in capsys.readouterr().err
    assert logging.getLogger().handlers == before


def test_client_without_a_service_says_so() -> None:
    with Client("http://127.0.0.1:9") as client, pytest.raises(ServiceError, match="must answer"):
        client.predict(b"x")
    with pytest.raises(ValueError, match="`url` must be"):
        Client("127.0.0.1:8000")


def test_traces_by_opentelemetry_are_there_without_more(
    scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("opentelemetry.instrumentation.fastapi", reason="needs harmonizer[traces]")
    for kind, exporter in (("TRACES", "console"), ("METRICS", "none"), ("LOGS", "none")):
        monkeypatch.setenv(f"OTEL_{kind}_EXPORTER", exporter)
    program = str(Path(sys.executable).with_name("opentelemetry-instrument"))
    with serving(tmp_path, under=[program]) as service, service.client() as client:
        client.predict("c.jpg", "m.png")
    assert '"name": "POST /predict"' in (tmp_path / "stdout").read_text()
