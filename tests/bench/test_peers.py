"""Files compared with what other tools leave of them: which count, and which tool is held against ours."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from bench import peers
from bench.peers import BUDGET, OURS, SECTIONS, UNNOTICED, Left, files, more
from bench.tables import head, row
from testing.builder import Builder

ORIGINAL = Left(100, 10**7)


def _model() -> onnx.ModelProto:
    b = Builder(opset=17)
    return b.model(b.node("Relu", b.node("Identity", b.input((2, 3)))))


@pytest.mark.parametrize(
    ("ours", "others", "by"),
    [
        (Left(50, 10**7), [Left(60, 10**7), None], None),
        (Left(60, 10**7), [Left(60, 10**7)], None),
        (Left(60, 10**7), [Left(50, 10**7), Left(55, 10**7)], 10),
        # A peer that makes the file larger than ours may become is no measure.
        (Left(60, 10**7), [Left(50, int(BUDGET * 10**7) + 1), Left(58, 10**7)], 2),
        (Left(60, 10**7), [Left(50, int(BUDGET * 10**7))], 10),
        (Left(60, 10**7), [None, None], None),
        (None, [Left(90, 10**7)], 10),
        (None, [None], None),
        (Left(101, 10**7), [None], 1),
    ],
)
def test_ours_is_held_against_the_best_peer_within_the_budget(
    ours: Left | None, others: list[Left | None], by: int | None
) -> None:
    assert more(ORIGINAL, {OURS: ours} | {str(place): each for place, each in enumerate(others)}) == by


def test_a_small_file_may_grow_by_what_nobody_notices() -> None:
    peer = {"peer": Left(5, 1000 + UNNOTICED)}
    assert more(Left(9, 1000), {OURS: Left(7, 1000)} | peer) == 2
    assert more(Left(9, 999), {OURS: Left(7, 1000)} | peer) is None


def test_a_file_that_lies_there_twice_counts_once(tmp_path: Path) -> None:
    package, single = tmp_path / "voice_net-1.2-py3-none-any", tmp_path / "alone" / "one.onnx"
    for path, data in ((package / "a" / "x.onnx", b"1"), (package / "b" / "y.onnx", b"1"), (single, b"2")):
        path.parent.mkdir(parents=True)
        path.write_bytes(data)
    assert [name for name, _ in files([package, single])] == ["voice_net/x.onnx", "alone/one.onnx"]


def test_a_tool_that_breaks_off_is_told_and_peers_are_asked_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def left_by(tool: str, path: Path, seconds: float | None) -> Left | None:
        asked.append(tool)
        return None if tool == "onnxslim" else Left(1, 2000)

    onnx.save(_model(), tmp_path / "net.onnx")
    monkeypatch.setattr(peers, "left_by", left_by)
    monkeypatch.setattr(peers.importlib.metadata, "version", lambda name: "1")
    monkeypatch.setattr("sys.argv", ["peers", str(tmp_path / "net.onnx"), "--cache", str(tmp_path / "kept")])
    assert [peers.main(), peers.main()] == [0, 0]
    assert asked == [OURS, *peers.PEERS, OURS]


def test_nodes_are_counted_without_constants_and_with_subgraphs(tmp_path: Path) -> None:
    onnx.save(_model(), tmp_path / "net.onnx")
    assert Left.of(tmp_path / "net.onnx").nodes == 2
    cells = ["net.onnx", Left(2, 999), *["failed"] * 5, "-"]
    text = f"{head(SECTIONS[0].tables[0])}\n{row(cells)}"
    assert SECTIONS[0].problems(f"Measured on a machine (Linux, 2 cores), with Python 3.11.7.\n\n{text}") == []
