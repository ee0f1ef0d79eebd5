"""The service on Ray Serve, on a cluster of two nodes of this machine."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest
from repository import ROOT

pytest.importorskip("ray.serve", reason="harmonizer[ray] is not installed")

import ray
import yaml
from ray import serve
from ray.cluster_utils import Cluster
from ray.serve.schema import ServeDeploySchema

from harmonizer import Harmonizer
from harmonizer.client import Client, ServiceError
from harmonizer.ray.service import build

pytestmark = pytest.mark.slow

KEY = "0123456789abcdef-one"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Two replicas, for each node has room for one."""
    keys = tmp_path_factory.mktemp("keys") / "keys"
    keys.write_text(f"{KEY}\n")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_worker_niceness", "0")  # or workers wait for all else on the machine
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
        cluster.add_node(num_cpus=1)
        ray.init(address=cluster.address, log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    words = {"jobs": 1, "threads": "1", "queue": 4, "max_pixels": 100_000, "keys": keys}
    serve.run(build({**words, "replicas": 2}))
    yield f"http://127.0.0.1:{port}"
    serve.shutdown()
    ray.shutdown()
    cluster.shutdown()


def replicas() -> list[int]:
    """Processes of this machine that are replicas."""

    def is_replica(folder: Path) -> bool:
        with contextlib.suppress(OSError):  # it has ended meanwhile
            return "ServeReplica:default:Harmonizer" in (folder / "cmdline").read_text()
        return False

    folders = [path for path in Path("/proc").iterdir() if path.name.isdecimal()]
    return [int(folder.name) for folder in folders if is_replica(folder)]


def test_replicas_answer_as_the_library_writes_and_refuse_as_the_service_does(
    url: str, scene: Path
) -> None:
    with Harmonizer(backend="cpu", threads=1) as harmonizer:
        wanted = harmonizer.harmonize_file("c.jpg", "m.png", form="JPEG")
    with Client(url, KEY) as client:
        answer = client.harmonize("c.jpg", "m.png", form="JPEG")
        assert answer.data == wanted.data and answer.arguments == wanted.arguments.clamped()
        assert answer.request_id
        with pytest.raises(ServiceError, match="must be a JPEG") as refused:
            client.harmonize(b"<html>")
        assert refused.value.status == 422
    with Client(url) as client, pytest.raises(ServiceError, match="known key") as refused:
        client.predict("c.jpg", "m.png")
    assert refused.value.status == 401
    connection = HTTPConnection(url.removeprefix("http://"))
    connection.request("GET", "/readyz")
    assert json.loads(connection.getresponse().read()) == {"status": "ready", "backend": "cpu"}
    connection.close()


def test_replica_killed_under_load_loses_nothing_and_hangs_nothing(url: str, scene: Path) -> None:
    with Client(url, KEY) as client:
        wanted = client.harmonize("c.jpg", "m.png").data
    before = replicas()
    assert len(before) == 2
    answers: list[bytes] = []
    errors: list[Exception] = []

    def ask() -> None:
        nonlocal answers
        try:
            with Client(url, KEY, timeout=60, patience=90) as client:
                for _ in range(25):
                    answers += [client.harmonize("c.jpg", "m.png").data]
        except Exception as error:  # it is the test's to name
            errors.append(error)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    while len(answers) < 20:
        assert not errors
        time.sleep(0.01)
    os.kill(before[0], signal.SIGKILL)
    for thread in threads:
        thread.join(150)
        assert not thread.is_alive()
    assert not errors and answers == [wanted] * 100
    end = time.monotonic() + 60
    while not (len(now := replicas()) == 2 and before[0] not in now):  # another takes its place
        assert time.monotonic() < end, now
        time.sleep(0.2)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"modle": "x"}, "args must be of model, backend"),
        ({"queue": "many"}, "`queue` must be a number"),
        ({"max_bytes": 0}, "`max_bytes` must lie above 0"),
        ({"jobs": 4, "queue": 2}, "`queue` must be at least `jobs`"),
    ],
)
def test_words_that_cannot_be_served_are_refused(words: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        build(words)


def test_serve_builds_a_config_and_ours_keep_its_schema(tmp_path: Path) -> None:
    program = Path(sys.executable).with_name("serve")
    words = ["build", "harmonizer.ray.service:app", "-o", str(tmp_path / "serve.yaml")]
    subprocess.run([program, *words], check=True, capture_output=True)
    ours = yaml.safe_load((ROOT / "examples/ray/serve.yaml").read_text())
    resource = yaml.safe_load((ROOT / "examples/ray/kuberay.yaml").read_text())
    inner = yaml.safe_load(resource["spec"]["serveConfigV2"])
    for document in (yaml.safe_load((tmp_path / "serve.yaml").read_text()), ours, inner):
        (application,) = ServeDeploySchema(**document).applications
        assert application.import_path.partition(":")[0] == "harmonizer.ray.service"
        assert [item.name for item in application.deployments] == ["Harmonizer"]
        build(application.args)
    assert resource["kind"] == "RayService"
    version = resource["spec"]["rayClusterConfig"]["rayVersion"]
    assert version == ray.__version__
