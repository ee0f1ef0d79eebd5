"""`harmonizer studio`: what is served, to whom, and what is exported."""

import http.client
import os
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harmonizer import studio
from harmonizer.cli import main
from harmonizer.errors import StorageError
from harmonizer.studio import NETWORK, StudioError, export_site, make_server


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """A page of two files in the place where an installation has it."""
    package = tmp_path / "package" / "harmonizer"
    (package / "assets/studio/models").mkdir(parents=True)
    (package / "assets/studio/index.html").write_text("<!doctype html>")
    (package / "assets/studio/harmonizer.wasm").write_bytes(b"\0asm")
    monkeypatch.setattr(studio, "__file__", str(package / "studio.py"))
    return studio.find_site()


@pytest.fixture
def port(site: dict[str, Path]) -> Iterator[int]:
    with make_server(site, 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def ask(port: int, path: str, **headers: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path, headers=headers)
    return connection.getresponse()


def test_site_takes_the_network_from_the_package(site: dict[str, Path]) -> None:
    assert set(site) == {"index.html", "harmonizer.wasm", NETWORK}
    assert site[NETWORK].name == "harmonizer.onnx" and "assets" in site[NETWORK].parts


@pytest.mark.parametrize("path", ["/", "/index.html", "/index.html?x=1"])
def test_server_gives_the_page_with_its_policy(port: int, path: str) -> None:
    answer = ask(port, path)
    assert (answer.status, answer.read()) == (200, b"<!doctype html>")
    assert "'wasm-unsafe-eval'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    # Both, so that the page may share memory among threads.
    assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert answer.headers["Cross-Origin-Embedder-Policy"] == "require-corp"


def test_server_sends_what_a_browser_has_already_no_second_time(port: int) -> None:
    first = ask(port, "/harmonizer.wasm")
    assert first.read() == b"\0asm"
    again = ask(port, "/harmonizer.wasm", **{"If-None-Match": first.headers["ETag"]})
    assert (again.status, again.read()) == (304, b"")
    assert ask(port, "/harmonizer.wasm", **{"If-None-Match": '"0"'}).status == 200


@pytest.mark.parametrize("path", ["/../studio.py", "/%2e%2e/studio.py", "//etc/passwd", "/none"])
def test_server_gives_nothing_else(port: int, path: str) -> None:
    assert ask(port, path).status == 404


def test_server_refuses_another_name_for_this_machine(port: int) -> None:
    assert ask(port, "/", Host="example.org").status == 421


def test_browser_that_goes_away_is_no_error(
    site: dict[str, Path], port: int, capfd: pytest.CaptureFixture[str]
) -> None:
    os.truncate(site["harmonizer.wasm"], 1 << 26)
    with socket.create_connection(("127.0.0.1", port), timeout=10) as browser:
        browser.sendall(b"GET /harmonizer.wasm HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert browser.recv(100).startswith(b"HTTP/1.1 200")
        browser.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert ask(port, "/").status == 200
    assert not said_within(1, capfd)
    site["index.html"].unlink()  # what is wrong with this server is said
    with pytest.raises(http.client.RemoteDisconnected):
        ask(port, "/")
    assert "FileNotFoundError" in said_within(10, capfd)


def said_within(seconds: float, capfd: pytest.CaptureFixture[str]) -> str:
    end = time.monotonic() + seconds
    said = ""
    while not said and time.monotonic() < end:
        time.sleep(0.05)
        said = capfd.readouterr().err
    return said


def test_taken_port_is_said(site: dict[str, Path], port: int) -> None:
    with pytest.raises(StudioError, match=f"`port` must be free, 0 to 65535; {port} is not"):
        make_server(site, port)
    with pytest.raises(StudioError, match="70000 is not"):
        make_server(site, 70000)


def test_export_writes_the_page_into_a_new_folder(site: dict[str, Path], tmp_path: Path) -> None:
    assert main(["studio", "--export", str(tmp_path / "out")]) == 0
    written = {
        path.relative_to(tmp_path / "out").as_posix()
        for path in (tmp_path / "out").rglob("*")
        if path.is_file()
    }
    assert written == set(site)
    with pytest.raises(StorageError, match="must be a new or an empty folder"):
        export_site(tmp_path / "out")


def test_installation_without_a_page_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(studio, "__file__", str(tmp_path / "a/b/harmonizer/studio.py"))
    assert main(["studio", "--no-browser"]) == 2
    assert "Run `make studio` in the source tree" in capsys.readouterr().err
