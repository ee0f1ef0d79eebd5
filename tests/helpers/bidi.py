"""Firefox as its package has it, driven by WebDriver BiDi; what tests need of it and no more.

Playwright drives a Firefox of its own making, or one newer than Debian's.
"""

import base64
import json
import os
import re
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

PREFERENCES = {
    "browser.download.folderList": 2,
    "browser.download.useDownloadDir": True,
    "browser.shell.checkDefaultBrowser": False,
    "browser.startup.homepage_override.mstone": "ignore",
    "datareporting.policy.dataSubmissionEnabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "remote.active-protocols": 1,
}
KEYS = {"ArrowRight": "\ue014", "ArrowLeft": "\ue012", "Control": "\ue009", "Space": " "}
SECONDS = 120


class Socket:
    """A WebSocket of one connection (RFC 6455), text alone."""

    def __init__(self, address: str) -> None:
        place = urlsplit(address)
        self._socket = socket.create_connection((place.hostname, place.port), SECONDS)
        key = base64.b64encode(os.urandom(16)).decode()
        self._socket.sendall(
            f"GET {place.path}/session HTTP/1.1\r\nHost: {place.netloc}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
            "Sec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        self._stream = self._socket.makefile("rb")
        assert b" 101 " in self._stream.readline()
        while self._stream.readline() != b"\r\n":
            pass

    def send(self, text: str) -> None:
        """Send one frame, masked, which servers insist on."""
        data = text.encode()
        size = len(data)
        if size < 126:
            head = struct.pack(">BB", 0x81, 0x80 | size)
        elif size < 2**16:
            head = struct.pack(">BBH", 0x81, 0x80 | 126, size)
        else:
            head = struct.pack(">BBQ", 0x81, 0x80 | 127, size)
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[i % 4] for i, byte in enumerate(data))
        self._socket.sendall(head + mask + masked)

    def receive(self) -> str:
        """The next message."""
        message, last = b"", False
        while not last:
            first, size = struct.unpack(">BB", self._stream.read(2))
            if size == 126:
                (size,) = struct.unpack(">H", self._stream.read(2))
            elif size == 127:
                (size,) = struct.unpack(">Q", self._stream.read(8))
            data = self._stream.read(size)
            if first & 0x0F in (0, 1):
                message += data
                last = bool(first & 0x80)
        return message.decode()

    def close(self) -> None:
        """Hang up."""
        self._stream.close()
        self._socket.close()


class Firefox:
    """A browser that is running."""

    def __init__(self, address: str, downloads: Path) -> None:
        self.downloads = downloads
        self._socket = Socket(address)
        self._last = 0
        found = self.call("session.new", capabilities={})
        self.version: str = found["capabilities"]["browserVersion"]

    def call(self, method: str, **given: Any) -> Any:
        """Call one method of the protocol; events in between are of no interest."""
        self._last += 1
        self._socket.send(json.dumps({"id": self._last, "method": method, "params": given}))
        while True:
            answer = json.loads(self._socket.receive())
            if answer.get("id") != self._last:
                continue
            assert answer["type"] == "success", answer
            return answer["result"]

    def new_page(self) -> "Page":
        """An empty tab."""
        return Page(self, self.call("browsingContext.create", type="tab")["context"])

    def close(self) -> None:
        """End the session; the process is ended by `open_firefox`."""
        self._socket.close()


class Page:
    """A tab, with methods as Playwright names them."""

    def __init__(self, browser: Firefox, context: str) -> None:
        self._browser = browser
        self._context = context

    def before_loading(self, source: str) -> None:
        """Call a function in whatever is loaded from now on."""
        self._browser.call(
            "script.addPreloadScript", functionDeclaration=source, contexts=[self._context]
        )

    def goto(self, address: str) -> None:
        """Load an address."""
        self._browser.call(
            "browsingContext.navigate", context=self._context, url=address, wait="complete"
        )

    def _run(self, source: str, *given: Any) -> Any:
        answer = self._browser.call(
            "script.callFunction",
            functionDeclaration=source,
            arguments=[{"type": "string", "value": json.dumps(value)} for value in given],
            awaitPromise=True,
            target={"context": self._context},
            userActivation=True,
        )
        assert answer["type"] == "success", answer["exceptionDetails"]["text"]
        return answer["result"]

    def evaluate(self, source: str, given: object = None) -> Any:
        """Call a function in the page."""
        text = f"async (given) => JSON.stringify(await ({source})(JSON.parse(given))) ?? 'null'"
        return json.loads(self._run(text, given)["value"])

    def wait_for_function(self, source: str, arg: object = None) -> None:
        """Until a function answers with something true."""
        ended = time.monotonic() + SECONDS
        while not self.evaluate(f"async (given) => !!(await ({source})(given))", arg):
            assert time.monotonic() < ended, source
            time.sleep(0.05)

    def wait_for_selector(self, selector: str) -> None:
        """Until an element is there."""
        self.wait_for_function("(found) => document.querySelector(found)", selector)

    def _element(self, selector: str) -> dict[str, Any]:
        found = self._run("(found) => document.querySelector(JSON.parse(found))", selector)
        return {"sharedId": found["sharedId"]}

    def set_input_files(self, selector: str, files: list[str]) -> None:
        """Choose files, as in the browser's dialogue."""
        self._browser.call(
            "input.setFiles", context=self._context, element=self._element(selector), files=files
        )

    def click(self, selector: str) -> None:
        """Press and let go of the pointer's button over an element."""
        origin = {"type": "element", "element": self._element(selector)}
        self._act(
            "pointer",
            {"type": "pointerMove", "x": 0, "y": 0, "origin": origin},
            {"type": "pointerDown", "button": 0},
            {"type": "pointerUp", "button": 0},
        )

    def press(self, keys: str) -> None:
        """Press keys together, such as Control+z."""
        names = [KEYS.get(key, key) for key in keys.split("+")]
        down = [{"type": "keyDown", "value": name} for name in names]
        self._act("key", *down, *({"type": "keyUp", "value": name} for name in reversed(names)))

    def _act(self, kind: str, *actions: dict[str, Any]) -> None:
        self._browser.call(
            "input.performActions",
            context=self._context,
            actions=[{"type": kind, "id": kind, "actions": list(actions)}],
        )

    def downloaded(self, name: str) -> bytes:
        """What was saved under a name, once it is whole; it is removed."""
        path, ended = self._browser.downloads / name, time.monotonic() + SECONDS
        part = path.with_name(path.name + ".part")
        while part.exists() or not path.is_file() or not path.stat().st_size:
            assert time.monotonic() < ended, f"{name} was not saved"
            time.sleep(0.1)
        data = path.read_bytes()
        path.unlink()
        return data


@contextmanager
def open_firefox(program: str) -> Iterator[Firefox]:
    """Start Firefox without a window and with a profile of its own; end it."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        downloads = folder / "downloads"
        downloads.mkdir()
        preferences = {**PREFERENCES, "browser.download.dir": str(downloads)}
        (folder / "user.js").write_text(
            "".join(
                f"user_pref({json.dumps(key)}, {json.dumps(value)});\n"
                for key, value in preferences.items()
            )
        )
        command = [program, "--headless", "--remote-debugging-port=0", "--profile", name]
        with (folder / "said.txt").open("wb") as said:
            process = subprocess.Popen(command, stderr=said, stdout=said)
        try:
            browser = Firefox(_address(process, folder / "said.txt"), downloads)
            yield browser
            browser.close()
        finally:
            process.terminate()
            process.wait(SECONDS)


def _address(process: "subprocess.Popen[bytes]", said: Path) -> str:
    """Where it listens, which it says on its error stream."""
    ended = time.monotonic() + SECONDS
    while process.poll() is None and time.monotonic() < ended:
        found = re.search(
            r"WebDriver BiDi listening on (ws://\S+)", said.read_text("utf-8", "replace")
        )
        if found:
            return found[1]
        time.sleep(0.1)
    raise AssertionError(f"Firefox does not listen: {said.read_text('utf-8', 'replace')[-2000:]}")
