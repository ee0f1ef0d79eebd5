"""`harmonizer batch --ray` and rows of datasets, on a cluster of this machine."""

import json
import runpy
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ray", reason="harmonizer[ray] is not installed")
pytest.importorskip("pyarrow", reason="harmonizer[ray] is not installed")

import pyarrow as pa
import pyarrow.parquet as pq
import ray
import ray.data
from ray_doers import Mortal
from repository import ROOT

from harmonizer import Arguments, Harmonizer
from harmonizer.batch import RECORD_NAME, Record
from harmonizer.cli import main
from harmonizer.errors import ImageFileError
from harmonizer.opening import Opening
from harmonizer.pairing import pair_files
from harmonizer.ray.crew import ClusterError, Crew, check_address, joined, room, run_crew
from harmonizer.ray.rows import harmonize_rows
from harmonizer.recipes import Recipe

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_worker_niceness", "0")  # or workers wait for all else on the machine
        patch.setenv("PYTHONPATH", str(ROOT / "tests/helpers"))  # of the workers
        ray.init(
            num_cpus=4, include_dashboard=False, log_to_driver=False, object_store_memory=200 << 20
        )
    yield
    ray.shutdown()


@pytest.fixture
def folders(scene: Path) -> Path:
    """cs/ with five composites, one of them bad and one without a mask, and ms/ with masks."""
    for name in ("cs/sub", "ms/sub"):
        Path(name).mkdir(parents=True)
    for name in ("cs/a.jpg", "cs/b.jpg", "cs/sub/c.jpg", "cs/orphan.jpg"):
        shutil.copy("c.jpg", name)
    Path("cs/bad.jpg").write_bytes(b"bad")
    for name in ("ms/a.png", "ms/b.png", "ms/sub/c.png", "ms/bad.png"):
        shutil.copy("m.png", name)
    return scene


DONE = ("a.jpg", "b.jpg", "sub/c.jpg")


def test_batch_on_ray_writes_the_bytes_of_the_local_one(
    folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["batch", "cs", "ms", "-o", "local", "--threads", "1"]) == 1
    here = capsys.readouterr()
    words = [
        "batch",
        "cs",
        "ms",
        "-o",
        "there",
        "--ray",
        "local",
        "--jobs",
        "2",
        "--report",
        "page.html",
    ]
    assert main(words) == 1
    there = capsys.readouterr()
    assert here.out == there.out == "3 done, 0 skipped, 2 failed\n"
    assert "cs/bad.jpg must be" in there.err and "cs/orphan.jpg must have one mask" in there.err
    for name in DONE:
        assert Path("there", name).read_bytes() == Path("local", name).read_bytes()
    assert Path("page.html").stat().st_size > 1000

    def entries(folder: str) -> list[str]:
        return sorted(Path(folder, RECORD_NAME).read_text().splitlines())

    assert entries("there") == entries("local")  # either may go on where the other stopped
    assert main(["batch", "cs", "ms", "-o", "local", "--ray", "local", "--jobs", "1"]) == 1
    assert capsys.readouterr().out == "0 done, 3 skipped, 2 failed\n"
    Path("there/b.jpg").unlink()
    assert main(words) == 1
    assert capsys.readouterr().out == "1 done, 2 skipped, 2 failed\n"


def test_files_whose_worker_is_killed_are_tried_again_and_end_no_other(scene: Path) -> None:
    names = ("always", "once", "refused", "plain", "other")
    Path("cs").mkdir()
    for name in names:
        shutil.copy("rgba.png", f"cs/{name}.png")
    output = scene / "out"
    items, _ = pair_files(scene / "cs", None, output)
    with Record(output) as record:
        build = partial(Mortal, output=output)
        results = list(run_crew(Opening(threads=1), items, Recipe(), build, record, Crew(2)))
    assert sorted(out.composite.stem for out in results) == sorted(names)
    status = {out.composite.stem: out.status for out in results}
    assert status == {**dict.fromkeys(names, "done"), "always": "failed"}
    (lost,) = (out for out in results if out.status == "failed")
    assert "its worker was killed, each of 3 times" in lost.error
    assert (scene / "always.mark").read_text() == "xxx"
    left = {path.name for path in output.iterdir()}
    assert left == {RECORD_NAME, "once.png", "refused.png", "plain.png", "other.png"}


def test_model_that_workers_cannot_open_ends_the_batch_with_its_reason(
    folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("none.onnx").write_bytes(b"no model")
    words = [
        "batch",
        "cs",
        "ms",
        "-o",
        "out",
        "--ray",
        "local",
        "--jobs",
        "1",
        "--model",
        "none.onnx",
    ]
    assert main(words) == 2
    assert "none.onnx" in capsys.readouterr().err


def test_room_of_the_cluster_bounds_the_workers(
    folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert room(1, 0) == 4
    with pytest.raises(ClusterError, match=r"room for a worker of 1 CPUs and 0\.5 GPUs; it has 4 "):
        room(1, 0.5)
    assert main(["batch", "cs", "ms", "-o", "out", "--ray", "local", "--jobs", "5"]) == 2
    assert "--jobs must be at most 4" in capsys.readouterr().err


@pytest.fixture(scope="module")
def bucket() -> Iterator[Any]:
    """An S3 server of this machine, and a bucket in it."""
    moto = pytest.importorskip("moto.server", reason="moto[server] is not installed")
    from pyarrow.fs import S3FileSystem

    server = moto.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    port = server.get_host_and_port()[1]
    place = {"scheme": "http", "region": "us-east-1", "endpoint_override": f"127.0.0.1:{port}"}
    files = S3FileSystem(
        access_key="testing", secret_key="testing", **place, allow_bucket_creation=True
    )
    files.create_dir("pictures")
    query = "&".join(f"{name}={value}" for name, value in place.items())
    yield files, lambda path: f"s3://testing:testing@pictures/{path}?{query}"
    server.stop()


def test_batch_in_object_storage_writes_the_same_bytes_and_resumes(
    folders: Path, bucket: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["batch", "cs", "ms", "-o", "local", "--threads", "1"]) == 1
    files, address = bucket
    for path in [*Path("cs").rglob("*.jpg"), *Path("ms").rglob("*.png")]:
        with files.open_output_stream(f"pictures/{path}") as stream:
            stream.write(path.read_bytes())
    capsys.readouterr()
    words = [
        "batch",
        address("cs"),
        address("ms"),
        "-o",
        address("out"),
        "--ray",
        "local",
        "--jobs",
        "1",
    ]
    assert main(words) == 1
    said = capsys.readouterr()
    assert said.out == "3 done, 0 skipped, 2 failed\n"
    assert "pictures/cs/bad.jpg" in said.err and "testing@" not in said.err + said.out
    for name in DONE:
        data = files.open_input_stream(f"pictures/out/{name}").read()
        assert data == Path("local", name).read_bytes()
    assert main(words) == 1
    assert capsys.readouterr().out == "0 done, 3 skipped, 2 failed\n"
    with files.open_output_stream("pictures/cs/b.jpg") as stream:
        stream.write(Path("c.jpg").read_bytes() + b"\0")
    assert main(words) == 1
    assert capsys.readouterr().out == "1 done, 2 skipped, 2 failed\n"


def test_storage_that_cannot_be_had_is_refused_without_its_secrets(
    scene: Path, bucket: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    files, address = bucket
    with files.open_output_stream("pictures/texts/read.txt") as stream:
        stream.write(b"no picture")
    for place, said in (
        (address("nothing"), "must be a folder"),
        (address("texts"), "must contain images"),
        ("nowhere://testing:testing@pictures/cs", "must lie in storage that pyarrow or fsspec"),
    ):
        assert main(["batch", place, "-o", "out", "--ray", "local", "--jobs", "1"]) == 2
        told = capsys.readouterr().err
        assert said in told and "testing@" not in told


def test_batch_through_fsspec_writes_whole_files(
    folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["batch", "cs", "ms", "-o", "here", "--threads", "1"]) == 1
    capsys.readouterr()
    words = [
        "batch",
        "cs",
        "ms",
        "-o",
        f"local://{folders}/out",
        "--ray",
        "local",
        "--jobs",
        "1",
    ]  # fsspec's own
    assert main(words) == 1
    assert capsys.readouterr().out == "3 done, 0 skipped, 2 failed\n"
    for name in DONE:
        assert Path("out", name).read_bytes() == Path("here", name).read_bytes()
    assert not list(Path("out").rglob("*.tmp"))
    assert main(words) == 1
    assert capsys.readouterr().out == "0 done, 3 skipped, 2 failed\n"


def test_rows_of_parquet_come_back_with_pictures_arguments_and_errors(folders: Path) -> None:
    image, mask = Path("c.jpg").read_bytes(), Path("m.png").read_bytes()
    rows = [
        {"id": "bytes", "image": image, "mask": mask},
        {"id": "bad", "image": b"bad", "mask": mask},
        {"id": "empty", "image": b"", "mask": mask},
    ]
    pq.write_table(pa.Table.from_pylist(rows), "in.parquet")
    dataset = harmonize_rows(ray.data.read_parquet(str(folders / "in.parquet")), suffix=".jpg")
    dataset.write_parquet(str(folders / "out"))
    found = {row["id"]: row for row in pq.read_table("out").to_pylist()}
    with Harmonizer(backend="cpu", threads=1) as harmonizer:
        wanted = harmonizer.harmonize_file("c.jpg", "m.png", form="JPEG")
    assert found["bytes"]["harmonized"] == wanted.data and found["bytes"]["error"] == ""
    document = json.loads(found["bytes"]["arguments"])
    assert Arguments.from_document(document) == wanted.arguments
    assert found["bad"]["harmonized"] == b"" and "must be a JPEG" in found["bad"]["error"]
    assert "`image` must have a file's bytes" in found["empty"]["error"]


def test_example_of_parquet_goes_on_where_it_stopped(
    folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray.data.DataContext.get_current(), "checkpoint_config", None)
    run = runpy.run_path(str(ROOT / "examples/ray/parquet.py"))["run"]
    image, mask = Path("c.jpg").read_bytes(), Path("m.png").read_bytes()
    rows = [{"id": name, "image": image, "mask": mask} for name in ("a", "b")]
    pq.write_table(pa.Table.from_pylist(rows[:1]), "in.parquet")
    words = [str(folders / name) for name in ("in.parquet", "out", "done")]
    run(*words)
    pq.write_table(pa.Table.from_pylist(rows), "in.parquet")
    before = set(Path("out").iterdir())
    run(*words)
    (new,) = set(Path("out").iterdir()) - before
    assert pq.read_table(new)["id"].to_pylist() == ["b"]
    assert sorted(pq.read_table("out")["id"].to_pylist()) == ["a", "b"]


def test_rows_of_addresses_are_read_and_written_where_they_lie(folders: Path) -> None:
    with pytest.raises(ImageFileError, match="`suffix` must be one of"):
        harmonize_rows(ray.data.from_items([{"image": b""}]), suffix=".doc")
    rows = [
        {"image": f"{folders}/cs/a.jpg", "mask": f"{folders}/ms/a.png", "output": "row/a.png"},
        {"image": f"{folders}/none.jpg", "mask": "", "output": "row/none.png"},
    ]
    rows = [{**row, "output": f"{folders}/{row['output']}"} for row in rows]
    done = {Path(r["output"]).name: r for r in harmonize_rows(ray.data.from_items(rows)).take_all()}
    with Harmonizer(backend="cpu", threads=1) as harmonizer:
        wanted = harmonizer.harmonize_file("c.jpg", "m.png", form="PNG")
    assert Path("row/a.png").read_bytes() == wanted.data and done["a.png"]["harmonized"] == b""
    assert "must be a file" in done["none.png"]["error"]


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("127.0.0.1:1", "does not answer: .*refused"),
        ("ray://127.0.0.1:1", "does not answer: .*refused"),
        ("127.0.0.1:99999", "does not answer"),
        ("cluster", r"must be local, auto, HOST:PORT .*'cluster'\. Name its"),
    ],
)
def test_cluster_that_does_not_answer_is_named_at_once(address: str, said: str) -> None:
    with pytest.raises(ClusterError, match=said):
        check_address(address)


def test_cluster_that_was_joined_before_stays() -> None:
    with joined("local"):
        assert room(1, 0) == 4
    assert ray.is_initialized()
