"""Tests of onnxnorm/cli/batch.py: many models at once."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import onnx
import pytest

from onnxnorm import cli
from onnxnorm.cli import batch as batch_module
from tests.cli.samples import Captured, conv_bn_lrn, fails


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    (folder / "sub").mkdir(parents=True)
    for number, name in enumerate(["a.onnx", "b.onnx", "sub/a.onnx"]):
        onnx.save(conv_bn_lrn(channels=3 + number), folder / name)
    return folder


def _optimize(capsys: Captured, *arguments: str | Path, code: int = 0) -> dict[str, dict[str, object]]:
    assert cli.main(["optimize", *map(str, arguments), "--no-verify", "--json"]) == code
    lines = capsys.readouterr().out.splitlines()
    return {str(record["input"]): record for record in map(json.loads, lines)}


def _is_folded(path: Path) -> bool:
    operators = [node.op_type for node in onnx.load(path).graph.node]
    return "Conv" in operators and "BatchNormalization" not in operators


def test_a_folder_is_worked_through_and_done_models_are_known_by_content(
    capsys: Captured, folder: Path, tmp_path: Path
) -> None:
    (folder / "bad.onnx").write_text("no model")
    output = tmp_path / "out"
    first = _optimize(capsys, folder, output, "--jobs", "2", code=2)
    good = [str(folder / name) for name in ("a.onnx", "b.onnx", "sub/a.onnx")]
    assert {name: record["status"] for name, record in first.items()} == {
        **dict.fromkeys(good, "done"),
        str(folder / "bad.onnx"): "failed",
    }
    assert "bad.onnx" in str(first[str(folder / "bad.onnx")]["message"])
    for name in ("a.onnx", "b.onnx", "sub/a.onnx"):
        assert _is_folded(output / name)
    assert not (output / "bad.onnx").exists()

    (folder / "bad.onnx").unlink()
    onnx.save(conv_bn_lrn(channels=7), folder / "b.onnx")
    (output / "sub" / "a.onnx").write_text("spoiled")
    os.utime(folder / "a.onnx")
    again = _optimize(capsys, folder, output)
    assert [again[name]["status"] for name in good] == ["done before", "done", "done"]
    assert _is_folded(output / "sub" / "a.onnx")
    other = _optimize(capsys, folder / "a*.onnx", output, "--skip", "fold_affines")
    assert other[good[0]]["status"] == "done", "other options give other results"


def test_patterns_and_the_same_folder(capsys: Captured, folder: Path) -> None:
    found = _optimize(capsys, folder / "*.onnx", folder)
    assert sorted(found) == [str(folder / "a.onnx"), str(folder / "b.onnx")]
    assert _is_folded(folder / "a.onnx")
    again = _optimize(capsys, folder, folder)
    assert [record["status"] for record in again.values()].count("done before") == 2


def test_the_table_tells_what_became_of_each(capsys: Captured, folder: Path, tmp_path: Path) -> None:
    assert cli.main(["optimize", str(folder), str(tmp_path / "out"), "--no-verify"]) == 0
    out = capsys.readouterr().out
    assert "MB" in out or "kB" in out or " B" in out
    assert out.splitlines()[-1] == "3 models: 3 done, 0 done before, 0 failed"


def test_wrong_places_are_refused(capsys: Captured, folder: Path, tmp_path: Path) -> None:
    assert "no model" in fails(capsys, 2, "optimize", tmp_path / "*.nothing", tmp_path / "out")
    assert "need a folder" in fails(capsys, 2, "optimize", folder, folder / "a.onnx")
    message = fails(capsys, 2, "optimize", folder / "a.onnx", folder / "sub" / "a.onnx", tmp_path / "out")
    assert "would both become" in message
    assert "no Dask scheduler" in fails(
        capsys, 2, "optimize", folder, tmp_path / "out", "--scheduler", "nonsense://nowhere"
    )


def test_a_process_that_dies_stops_nobody(
    capsys: Captured, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interpreter that kills itself on one of the models stands in for one that runs out of memory."""
    interpreter = tmp_path / "python"
    interpreter.write_text(
        f'#!/bin/sh\ncase "$4" in */b.onnx) kill -9 $$;; esac\nexec {batch_module.sys.executable} "$@"\n'
    )
    interpreter.chmod(0o755)
    monkeypatch.setattr(batch_module.sys, "executable", str(interpreter))
    found = _optimize(capsys, folder, tmp_path / "out", code=1)
    assert [record["status"] for _, record in sorted(found.items())] == ["done", "failed", "done"]
    assert "ended with -9" in str(found[str(folder / "b.onnx")]["message"])


def test_a_cluster_loses_a_worker_and_nothing_else(capsys: Captured, tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    folder, output = tmp_path / "models", tmp_path / "out"
    folder.mkdir()
    for number in range(5):
        onnx.save(conv_bn_lrn(channels=3 + number), folder / f"m{number}.onnx")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        victim = next(iter(cluster.workers.values())).process.process.pid

        def kill() -> None:
            while not list(output.glob("*.onnx")):
                time.sleep(0.05)
            os.kill(victim, signal.SIGKILL)

        import threading

        killer = threading.Thread(target=kill)
        killer.start()
        found = _optimize(capsys, folder, output, "--scheduler", cluster.scheduler_address)
        killer.join()
        again = _optimize(capsys, folder, output, "--scheduler", cluster.scheduler_address)
    assert len(found) == 5
    assert {record["status"] for record in found.values()} <= {"done", "done before"}
    for number in range(5):
        assert _is_folded(output / f"m{number}.onnx")
    assert {record["status"] for record in again.values()} == {"done before"}
    assert sorted(path.name for path in output.iterdir()) == [".onnxnorm", *(f"m{number}.onnx" for number in range(5))]
