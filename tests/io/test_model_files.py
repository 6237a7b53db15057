"""Tests of how models get in and out of files: onnxnorm/io and onnxnorm/files."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxnorm
from onnxnorm.files import new_file, write_behind
from onnxnorm.io import load_and_save, new_weights, read
from onnxnorm.io.file_tensors import FileTensor

CHANNELS = 32


def chain(blocks: int = 3) -> onnx.ModelProto:
    """Convolutions, the last of them without the BatchNormalization that the others have."""
    random = np.random.default_rng(5)
    nodes, constants, x = [], [], "x"

    def constant(name: str, array: np.ndarray) -> str:
        constants.append(numpy_helper.from_array(array.astype(np.float32), name))
        return name

    for i in range(blocks):
        weight = constant(f"w{i}", random.normal(size=(CHANNELS, CHANNELS, 5, 5)))
        nodes.append(helper.make_node("Conv", [x, weight], [f"c{i}"], f"conv{i}", pads=[2] * 4))
        x = f"c{i}"
        if i < blocks - 1:
            names = [constant(f"{name}{i}", random.uniform(0.5, 2.0, CHANNELS)) for name in ("s", "b", "m", "v")]
            nodes.append(helper.make_node("BatchNormalization", [x, *names], [f"n{i}"], f"norm{i}"))
            x = f"n{i}"
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, CHANNELS, 6, 6]) for name in ("x", x)]
    graph = helper.make_graph(nodes, "chain", values[:1], values[1:], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def write(path: Path, *, external: bool = True, **options: Any) -> Path:
    model = chain()
    if external:
        options = {"location": f"{path.name}.weights", "size_threshold": 0, **options}
        onnx.save_model(model, path, save_as_external_data=True, **options)
    else:
        onnx.save_model(model, path)
    return path


def weights(path: Path) -> dict[str, bytes]:
    return {tensor.name: numpy_helper.to_array(tensor).tobytes() for tensor in onnx.load(path).graph.initializer}


@pytest.fixture
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    path = tmp_path_factory.mktemp("expected") / "out.onnx"
    onnx.save(onnxnorm.optimize(chain(), verify=False).model, path)
    return weights(path)


@pytest.fixture
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file is skimmed and every new weight goes to the spool, as with models of gigabytes."""
    monkeypatch.setattr(read, "_SKIMMED_FROM", 0)
    monkeypatch.setattr(read, "_LEAST_SKIMMED", 1000)
    monkeypatch.setattr(new_weights, "_IN_MEMORY", 0)
    monkeypatch.setattr(new_weights, "_LEAST", 1000)


@pytest.mark.parametrize("external_in", [True, False])
@pytest.mark.parametrize(
    "form",
    [
        {},
        {"external_data": True},
        {"shard_size": 120_000},
        {"safetensors": True},
        {"safetensors": True, "shard_size": 120_000},
    ],
)
@pytest.mark.parametrize("small", [True, False])
def test_every_form_gives_the_same_result(
    tmp_path: Path,
    expected: dict[str, bytes],
    request: pytest.FixtureRequest,
    external_in: bool,
    form: dict[str, Any],
    small: bool,
) -> None:
    if small:
        request.getfixturevalue("small_limits")
    path = write(tmp_path / "in.onnx", external=external_in)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    (tmp_path / "out").mkdir()
    output = tmp_path / "out" / "out.onnx"
    result = onnxnorm.optimize(path, workspace=tmp_path, verify=False)
    result.save(output, **form)
    result.save(tmp_path / "out" / "again.onnx", **form)

    assert weights(output) == expected == weights(tmp_path / "out" / "again.onnx")
    onnx.checker.check_model(output, full_check=True)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir() if file.is_file()} == before
    names = sorted(file.name for file in (tmp_path / "out").iterdir() if file.name.startswith("out"))
    if not form:
        assert names == ["out.onnx"]
        return
    suffix = "safetensors" if "safetensors" in form else "data"
    if "shard_size" not in form:
        assert names == ["out.onnx", f"out.onnx.{suffix}"]
    else:
        assert len(names) == 4 and names[1] == f"out.onnx.00001-of-00003.{suffix}"


def test_safetensors_files_are_what_their_own_library_reads(tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.numpy")
    random = np.random.default_rng(2)
    arrays = {
        "half": random.normal(size=(601, 3)).astype(np.float16),
        "w": random.normal(size=(40, 40)).astype(np.float32),
        "wide": random.normal(size=(300,)),
        "bytes": random.integers(0, 9, 1500).astype(np.int8),
        "__metadata__": random.integers(0, 9, 400),
        "small": np.arange(3),
    }
    initializers = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    four_bits = helper.make_tensor("four bits", TensorProto.INT4, [4001], list(range(-8, 8)) * 250 + [1])
    used = [
        helper.make_node("Identity", [tensor.name], [f"out {tensor.name}"]) for tensor in (*initializers, four_bits)
    ]
    outputs = [helper.make_empty_tensor_value_info(node.output[0]) for node in used]
    graph = helper.make_graph(used, "weights", [], outputs, [*initializers, four_bits])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    path = tmp_path / "out.onnx"
    onnxnorm.optimize(model, passes=(), verify=False).save(path, safetensors=True)
    found = safetensors.load_file(tmp_path / "out.onnx.safetensors")
    assert set(found) == {"half", "w", "wide", "bytes", "__metadata__#2", "four bits"}
    assert found.pop("four bits").nbytes == 2001
    for name, array in found.items():
        np.testing.assert_array_equal(array, arrays[name.removesuffix("#2")])
    loaded = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer}
    for name, array in {**arrays, "four bits": numpy_helper.to_array(four_bits)}.items():
        np.testing.assert_array_equal(loaded[name], array)
    load_and_save.save(load_and_save.load(path), path, safetensors=True)
    load_and_save.save(load_and_save.load(path), path)
    assert [file.name for file in tmp_path.iterdir()] == ["out.onnx"], "data files of the old result are gone"


def test_models_with_weights_in_safetensors_by_another_hand_are_read(
    tmp_path: Path, expected: dict[str, bytes]
) -> None:
    pytest.importorskip("safetensors")
    ir.save_safetensors(ir.from_proto(chain()), tmp_path / "in.onnx", size_threshold_bytes=0)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["in.onnx", "in.safetensors"]
    onnxnorm.optimize(tmp_path / "in.onnx", verify=False).save(tmp_path / "out.onnx", safetensors=True)
    assert weights(tmp_path / "out.onnx") == expected


def test_large_weights_are_neither_read_nor_in_memory(tmp_path: Path, small_limits: None) -> None:
    path = write(tmp_path / "in.onnx", external=False)
    loaded = load_and_save.load(path)
    kinds = {name: type(value.const_value) for name, value in loaded.graph.initializers.items()}
    assert all(kinds[f"w{i}"] is FileTensor for i in range(3))
    assert kinds["s0"] is not FileTensor
    array = loaded.graph.initializers["w0"].const_value.numpy()
    assert not array.flags.owndata and not array.flags.writeable
    np.testing.assert_array_equal(array, numpy_helper.to_array(onnx.load(path).graph.initializer[0]))


def test_new_weights_in_the_spool_become_the_data_file(tmp_path: Path, small_limits: None) -> None:
    path = write(tmp_path / "in.onnx")
    result = onnxnorm.optimize(path, workspace=tmp_path, verify=False)
    folded = result.ir_model.graph.initializers["w0"].const_value
    assert isinstance(folded, FileTensor)
    inode = os.fstat(folded.data_file.fd).st_ino
    result.save(tmp_path / "out.onnx", external_data=True)
    if sys.platform == "linux":
        assert (tmp_path / "out.onnx.data").stat().st_ino == inode


def test_weights_that_changed_twice_leave_no_gap_in_the_data_file(tmp_path: Path, small_limits: None) -> None:
    """Both branches are folded, and then merged: what they were in between is nowhere in the result."""
    model = chain()
    first, norm = model.graph.node[:2]
    branch = helper.make_node("Conv", ["x", "w1"], ["cb"], "branch", pads=[2] * 4)
    other = helper.make_node("BatchNormalization", ["cb", *norm.input[1:]], ["nb"], "norm_b")
    total = helper.make_node("Add", ["n0", "nb"], ["sum"], "sum")
    del model.graph.node[:], model.graph.output[:]
    model.graph.node.extend([first, norm, branch, other, total])
    model.graph.output.append(helper.make_tensor_value_info("sum", TensorProto.FLOAT, [1, CHANNELS, 6, 6]))
    result = onnxnorm.optimize(model, workspace=tmp_path, verify=False)
    (conv,) = result.model.graph.node
    result.save(tmp_path / "out.onnx", external_data=True)
    assert onnxnorm.verify(model, tmp_path / "out.onnx").passed
    kept = sum(len(data) for data in weights(tmp_path / "out.onnx").values())
    assert conv.op_type == "Conv" and (tmp_path / "out.onnx.data").stat().st_size < 1.01 * kept


def test_input_and_output_may_be_the_same_path(tmp_path: Path, expected: dict[str, bytes], small_limits: None) -> None:
    for external in (True, False):
        path = write(tmp_path / "model.onnx", external=external)
        for form in ({"external_data": True}, {"external_data": True}, {}):
            result = onnxnorm.optimize(path, workspace=tmp_path, verify=False)
            result.save(path, **form)
            assert weights(path) == expected
        names = {file.name for file in tmp_path.iterdir()}
        assert names - {"model.onnx.weights"} == {"model.onnx"}, "old data files of ours are left"


def test_equal_tensors_of_a_file_are_written_once(tmp_path: Path) -> None:
    path = write(tmp_path / "in.onnx")
    model = onnx.load(path, load_external_data=False)
    first, second = (next(t for t in model.graph.initializer if t.name == name) for name in ("w0", "w1"))
    del second.external_data[:]
    second.external_data.extend(first.external_data)
    path.write_bytes(model.SerializeToString())
    onnxnorm.optimize(path, passes=(), verify=False).save(tmp_path / "out.onnx", external_data=True)
    one = CHANNELS * CHANNELS * 25 * 4
    assert 2 * one <= (tmp_path / "out.onnx.data").stat().st_size < 3 * one
    assert weights(tmp_path / "out.onnx")["w0"] == weights(tmp_path / "out.onnx")["w1"] == weights(path)["w0"]


def test_data_files_can_be_shared(tmp_path: Path, expected: dict[str, bytes]) -> None:
    path = write(tmp_path / "in.onnx")
    onnxnorm.optimize(path, verify=False).save(tmp_path / "out.onnx", share_data=True)
    assert weights(tmp_path / "out.onnx") == expected
    places = {
        tensor.name: tensor.external_data[0].value
        for tensor in onnx.load(tmp_path / "out.onnx", load_external_data=False).graph.initializer
        if tensor.external_data
    }
    assert places["w2"] == "in.onnx.weights" and places["w0"] == "out.onnx.data"
    (tmp_path / "other").mkdir()
    with pytest.raises(onnxnorm.OnnxNormError, match="beside the original"):
        onnxnorm.optimize(path, verify=False).save(tmp_path / "other" / "out.onnx", share_data=True)
    assert not list((tmp_path / "other").iterdir())


def test_models_over_2_gb_are_written_with_a_data_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "in.onnx")
    monkeypatch.setattr(load_and_save, "_PROTOBUF_LIMIT", load_and_save._ROOM_FOR_STRUCTURE + 100_000)
    result = onnxnorm.optimize(path, verify=False)
    with pytest.raises(onnxnorm.OnnxNormError, match="GB of weights"):
        _ = result.model
    result.save(tmp_path / "out.onnx")
    assert (tmp_path / "out.onnx.data").exists()


def test_a_full_disk_leaves_everything_as_it_was(tmp_path: Path) -> None:
    """A process may not write files beyond half of what the result takes."""
    path = write(tmp_path / "in.onnx", external=False)
    output = tmp_path / "out.onnx"
    output.write_bytes(b"before")
    limit = path.stat().st_size // 2

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    for flags in ([], ["--external-data"]):
        command = [sys.executable, "-m", "onnxnorm", "optimize", str(path), str(output), "--no-verify", *flags]
        process = subprocess.run(command, capture_output=True, text=True, preexec_fn=limited)
        assert process.returncode == 2
        assert process.stderr.startswith("onnxnorm: error: ") and "File too large; its weights" in process.stderr
        assert output.read_bytes() == b"before"
        assert sorted(file.name for file in tmp_path.iterdir()) == ["in.onnx", "out.onnx"]


_SMALL_SPOOL = """
import sys
from onnxnorm.io import new_weights
from onnxnorm.cli import main
new_weights._IN_MEMORY, new_weights._LEAST = 0, 1000
sys.exit(main(sys.argv[1:]))
"""


def test_a_disk_that_is_full_before_the_result_is_written_leaves_everything_as_it_was(tmp_path: Path) -> None:
    """New weights go to disk while the model is folded."""
    path = write(tmp_path / "in.onnx", external=False)

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000))

    command = [sys.executable, "-c", _SMALL_SPOOL, "optimize", str(path), str(tmp_path / "out.onnx"), "--no-verify"]
    process = subprocess.run(command, capture_output=True, text=True, preexec_fn=limited)
    assert process.returncode == 2
    assert "cannot keep the new weights there: File too large; name a folder with more room" in process.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["in.onnx"]
    assert subprocess.run(command, capture_output=True).returncode == 0


def test_two_may_write_the_same_path_at_once(tmp_path: Path, expected: dict[str, bytes]) -> None:
    path = write(tmp_path / "in.onnx")
    command = [sys.executable, "-m", "onnxnorm", "optimize", str(path), str(tmp_path / "out.onnx"), "--no-verify"]
    processes = [subprocess.Popen([*command, "--external-data"], stdout=subprocess.DEVNULL) for _ in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert weights(tmp_path / "out.onnx") == expected
    assert len(list(tmp_path.glob("out.onnx*"))) == 2


_DIE = """
import os, signal, sys
from onnxnorm.files import new_file
from onnxnorm.cli import main
def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)
setattr(*(new_file.Path, "replace") if sys.argv[1] == "rename" else (new_file.NewFile, "replace"), die)
main(["optimize", *sys.argv[2:], "--no-verify", "--external-data"])
"""


def _die(moment: str, path: Path, output: Path) -> None:
    process = subprocess.run([sys.executable, "-c", _DIE, moment, str(path), str(output)], capture_output=True)
    assert process.returncode == -9, process.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere files in the making have names")
@pytest.mark.parametrize("moment", ["rename", "replace"])
def test_what_a_dead_process_left_goes_with_the_next_run(
    tmp_path: Path, expected: dict[str, bytes], moment: str
) -> None:
    """The moments at which something is left: the data are there, the model is not, or has its name of a moment."""
    path, output = write(tmp_path / "in.onnx"), tmp_path / "out.onnx"
    output.write_bytes(b"before")
    (tmp_path / "out.onnx.data.csv").write_bytes(b"of the user")
    before = {file.name for file in tmp_path.iterdir()}
    _die(moment, path, output)
    left = {file.name for file in tmp_path.iterdir()} - before
    assert "out.onnx.data" in left and len(left) == (2 if moment == "rename" else 1)
    assert output.read_bytes() == b"before"
    onnxnorm.optimize(path, verify=False).save(output, external_data=True)
    assert weights(output) == expected
    now = {file.name for file in tmp_path.iterdir()} - before
    assert len(now) == 1 and next(iter(now)).startswith("out.onnx.")
    onnxnorm.optimize(path, verify=False).save(output, external_data=True)
    assert {file.name for file in tmp_path.iterdir()} - before == {"out.onnx.data"}


def test_files_of_living_processes_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(new_file, "_nameless", lambda folder: -1)
    path = write(tmp_path / "in.onnx")
    with new_file.NewFile(tmp_path) as other:
        name = next(iter(tmp_path.glob(".onnxnorm.*")))
        onnxnorm.optimize(path, verify=False).save(tmp_path / "out.onnx", external_data=True)
        assert name.exists() and os.fstat(other.fd).st_nlink == 1
    assert not list(tmp_path.glob(".onnxnorm.*"))


@pytest.mark.parametrize("links", [True, False])
def test_file_systems_without_nameless_files_or_links_will_do(
    tmp_path: Path, expected: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(new_file, "_nameless", lambda folder: -1)
    if not links:
        monkeypatch.setattr(os, "link", refuse)
    path = write(tmp_path / "in.onnx")
    for form in ({"external_data": True}, {"external_data": True}, {"shard_size": 120_000}, {}):
        onnxnorm.optimize(path, verify=False).save(tmp_path / "out.onnx", **form)
        assert weights(tmp_path / "out.onnx") == expected
    assert {file.name for file in tmp_path.iterdir()} == {"in.onnx", "in.onnx.weights", "out.onnx"}


def test_data_that_another_model_shares_stay(tmp_path: Path, expected: dict[str, bytes]) -> None:
    path = write(tmp_path / "in.onnx")
    onnxnorm.optimize(path, verify=False).save(tmp_path / "a.onnx", external_data=True)
    onnxnorm.optimize(tmp_path / "a.onnx", verify=False).save(tmp_path / "b.onnx", share_data=True)
    for _ in range(2):
        onnxnorm.optimize(path, verify=False).save(tmp_path / "a.onnx", external_data=True)
        assert weights(tmp_path / "a.onnx") == weights(tmp_path / "b.onnx") == expected
    assert len(list(tmp_path.glob("a.onnx.*"))) == 2


def test_a_large_file_is_let_go_of_while_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, int]] = []
    monkeypatch.setattr(write_behind, "SENT_AT_ONCE", 4000)
    monkeypatch.setattr(write_behind, "_KEPT", 2)
    monkeypatch.setattr(os, "posix_fadvise", lambda fd, start, count, _: told.append((start, count)), raising=False)
    data = np.random.default_rng(1).bytes(30_000)
    with new_file.NewFile(tmp_path) as file:
        for start in range(0, len(data), 1000):
            file.write(data[start : start + 1000], start)
        file.replace(tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == data
    chunks = [(start, 4000) for start in range(0, 28_000, 4000)]
    assert [each for number, each in enumerate(told) if each not in told[:number]] == chunks, "each is sent"
    assert [each for number, each in enumerate(told) if each in told[:number]] == chunks[:-2], "all but two are let go"


@pytest.mark.parametrize("able", [True, False])
def test_room_on_the_disk_is_taken_at_once_and_what_is_too_much_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, able: bool
) -> None:
    taken: list[tuple[int, int]] = []
    allocate = write_behind._allocator()

    def told(fd: int, start: int, count: int) -> None:
        taken.append((start, count))
        if allocate is not None:
            allocate(fd, start, count)

    monkeypatch.setattr(write_behind, "_LEAST_RESERVED", 50_000)
    monkeypatch.setattr(write_behind, "_allocator", lambda: told if able else None)
    path = write(tmp_path / "in.onnx", external=False)
    onnxnorm.optimize(path, verify=False).save(tmp_path / "one.onnx")
    onnxnorm.optimize(path, verify=False).save(tmp_path / "two.onnx", external_data=True)
    assert weights(tmp_path / "one.onnx") == weights(tmp_path / "two.onnx") != {}
    data = tmp_path / "two.onnx.data"
    assert len(taken) == (2 if able else 0)
    assert not able or taken[-1] == (0, data.stat().st_size)
    with new_file.NewFile(tmp_path) as file:
        file.reserve(0, 10**6)
        file.write(b"data", 0)
        os.ftruncate(file.fd, 4)
        file.replace(tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == b"data"
    assert (tmp_path / "out").stat().st_blocks * 512 <= 2**16


def test_links_in_a_model_cache_are_followed(tmp_path: Path) -> None:
    """The layout of the Hugging Face hub: both files are links into a folder of contents."""
    write(tmp_path / "model.onnx", location="model.onnx.data")
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "abc"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    for name in ("model.onnx", "model.onnx.data"):
        (tmp_path / name).rename(blobs / f"digest-{name}")
        (snapshot / name).symlink_to(Path("..", "..", "blobs", f"digest-{name}"))
    assert onnxnorm.optimize(snapshot / "model.onnx", verify=False).rewrites


def _refer(path: Path, location: str, **more: str) -> None:
    """Let every tensor of the model lie at `location`."""
    model = onnx.load(path, load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            entry.value = location if entry.key == "location" else more.get(entry.key, entry.value)
    path.write_bytes(model.SerializeToString())


@pytest.mark.parametrize("kind", ["parent", "absolute", "link", "hard link", "missing", "folder"])
def test_external_data_that_escape_are_refused(tmp_path: Path, kind: str) -> None:
    (tmp_path / "models").mkdir()
    path = write(tmp_path / "models" / "in.onnx", location="data")
    data, outside = tmp_path / "models" / "data", tmp_path / "secret"
    location = "data"
    if kind in ("parent", "absolute"):
        data.rename(outside)
        location = "../secret" if kind == "parent" else str(outside)
    elif kind == "link":
        data.rename(outside)
        data.symlink_to(outside)
    elif kind == "hard link":
        data.rename(outside)
        os.link(outside, data)
    elif kind == "missing":
        data.unlink()
    else:
        location = "."
    _refer(path, location)
    with pytest.raises(onnxnorm.OnnxNormError) as caught:
        onnxnorm.optimize(path, verify=False)
    assert str(path) in str(caught.value) and repr(location) in str(caught.value)


def test_hard_links_within_the_folder_are_fine(tmp_path: Path) -> None:
    path = write(tmp_path / "in.onnx", location="data")
    os.link(tmp_path / "data", tmp_path / "other name")
    assert onnxnorm.optimize(path, verify=False).rewrites


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"offset": "99999999"}, "cut off"),
        ({"offset": "-4"}, "'w0' lies in a file at offset '-4'"),
        ({"length": "3"}, "yet 3 are given"),
        ({"offset": "zero"}, "'zero'"),
        ({"offset": str(2**70)}, "cut off"),
    ],
)
def test_ranges_that_cannot_be_are_refused(tmp_path: Path, entry: dict[str, str], words: str) -> None:
    path = write(tmp_path / "in.onnx", location="data")
    _refer(path, "data", **entry)
    with pytest.raises(onnxnorm.OnnxNormError, match=words) as caught:
        onnxnorm.optimize(path, verify=False)
    assert str(path) in str(caught.value)


def test_quantization_metadata_and_order_survive(tmp_path: Path) -> None:
    model = chain()
    model.metadata_props.add(key="b", value="2")
    model.graph.metadata_props.add(key="a", value="1")
    model.graph.node[0].metadata_props.add(key="n", value="3")
    annotation = model.graph.quantization_annotation.add(tensor_name="c0")
    annotation.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="s0")
    model.graph.doc_string = "doc"
    assert load_and_save.to_proto(load_and_save.load(model)).SerializeToString(deterministic=True) == ir.to_proto(
        _without_initializer_infos(ir.from_proto(model))
    ).SerializeToString(deterministic=True)


def _without_initializer_infos(model: ir.Model) -> ir.Model:
    """onnx-ir writes type and shape of every initializer a second time."""
    for value in model.graph.initializers.values():
        value.shape = None
        value.type = None
    return model
