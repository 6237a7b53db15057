"""Work done in a child process: its answer, its failures, its limits, and its end with the parent."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import onnx.parser
import onnxruntime
import pytest

from onnxnorm.process.child import FORKS, BrokenOffError, FailedError, in_child

pytestmark = pytest.mark.skipif(not FORKS, reason="children are forked on Linux alone")


def test_the_answer_comes_back() -> None:
    assert in_child(lambda: b"answer") == b"answer"


def test_an_exception_is_told_and_a_crash_is_named() -> None:
    def fail() -> bytes:
        raise ValueError("the reason")

    def crash() -> bytes:
        os.kill(os.getpid(), signal.SIGSEGV)
        return b""

    with pytest.raises(FailedError, match="the reason"):
        in_child(fail)
    with pytest.raises(BrokenOffError, match="SIGSEGV"):
        in_child(crash)


def test_sessions_that_the_parent_forgot_are_not_collected_in_the_child() -> None:
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["": 17]> g (float[4, 3] x) => (float[4, 3] y) { y = Relu (x) }"""
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 4
    forgotten: list[object] = [
        onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    ]
    forgotten.append(forgotten)
    gc.disable()
    try:
        del forgotten
        assert in_child(lambda: bytes([gc.collect() >= 0]), seconds=10) == b"\x01"
    finally:
        gc.enable()


def test_work_beyond_its_limit_of_time_is_broken_off() -> None:
    def work_forever() -> bytes:
        while True:
            pass

    with pytest.raises(BrokenOffError, match="SIGXCPU"):
        in_child(work_forever, seconds=1)


def test_a_child_ends_with_its_parent(tmp_path: Path) -> None:
    told = tmp_path / "pid"
    program = (
        "import os, time, pathlib\n"
        "from onnxnorm.process.child import in_child\n"
        f"told = pathlib.Path({str(told)!r})\n"
        "in_child(lambda: (told.with_suffix('.new').write_text(str(os.getpid())),"
        " os.replace(told.with_suffix('.new'), told), time.sleep(600), b'')[-1])\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program])
    try:
        until = time.monotonic() + 60
        while not told.exists() and time.monotonic() < until:
            time.sleep(0.02)
        child = int(told.read_text())
        assert _runs(child)
    finally:
        parent.kill()
        parent.wait()
    until = time.monotonic() + 10
    while _runs(child) and time.monotonic() < until:
        time.sleep(0.02)
    assert not _runs(child)


def _runs(process: int) -> bool:
    """Whether the process lives; one that has ended and waits for its parent does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
