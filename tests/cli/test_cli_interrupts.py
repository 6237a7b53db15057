"""Tests of onnxnorm/cli/interrupts.py: a command that is told to end leaves one line, its code and nothing else."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import onnx
import pytest

from onnxnorm.process.child import FORKS
from testing.interruptible import start_python
from tests.cli.samples import conv_bn_lrn

pytestmark = pytest.mark.skipif(os.name == "nt", reason="POSIX signals")

_ENTRY = """
import sys
from onnxnorm.cli import entry, doctor as command, interrupts

interrupts.GRACE = 0.5

def work(arguments):
{work}

command.run = work
sys.argv[1:] = ["doctor"]
entry()
"""
_WORKS = {
    "in Python": "    time.sleep(60)",
    "in native code, which notices nothing": "    hashlib.pbkdf2_hmac('sha256', b'', b'', 2**30)",
    "where every exception is swallowed": (
        "    while True:\n        try:\n            time.sleep(60)\n        except BaseException:\n            pass"
    ),
    "where it becomes another exception": (
        "    try:\n        time.sleep(60)\n    except BaseException:\n        raise ImportError('not initialized')"
    ),
    "in a destructor": (
        "    class Slow:\n        def __del__(self):\n            time.sleep(60)\n    Slow()\n    time.sleep(60)"
    ),
    "in a child": "    in_child(lambda: print(os.getpid(), flush=True) or time.sleep(60) or b'')",
}
_FIRST = "    import hashlib, os, time\n    from onnxnorm.files.folders import temporary_folder\n"
_FIRST += "    from onnxnorm.process.child import in_child\n"


def _started(work: str, folder: Path, *, hang_up: Any = signal.SIG_DFL) -> subprocess.Popen[str]:
    """Start a command that does the work, with a temporary folder, and tells when it begins."""
    body = "    with temporary_folder():\n        print('ready', flush=True)\n" + textwrap.indent(work, "    ")
    words = ["-B", "-c", _ENTRY.format(work=_FIRST + body)]
    return start_python(words, hang_up=hang_up, TMPDIR=str(folder))


def _is_alive(process: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("work", _WORKS)
def test_a_command_ends_wherever_it_is(work: str, tmp_path: Path) -> None:
    process = _started(_WORKS[work], tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    if work == "in a child":
        child = int(process.stdout.readline())
    else:
        # It has to be inside of what it does.
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    started = time.monotonic()
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (130, "", "onnxnorm: interrupted\n")
    assert time.monotonic() - started < 20
    assert not list(tmp_path.iterdir())
    if work == "in a child" and FORKS:
        assert not _is_alive(child)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_every_signal_that_asks_for_the_end_is_heeded(number: signal.Signals, tmp_path: Path) -> None:
    process = _started(_WORKS["in Python"], tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (130, "onnxnorm: interrupted\n")
    assert not list(tmp_path.iterdir())


def test_a_second_signal_does_not_wait(tmp_path: Path) -> None:
    process = _started(f"    interrupts.GRACE = 60\n{_WORKS['where every exception is swallowed']}", tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(0.1)
    process.communicate(timeout=30)
    assert process.returncode == 130


def test_what_was_to_be_ignored_is(tmp_path: Path) -> None:
    """`nohup` starts a command so that it outlives its terminal."""
    process = _started("    time.sleep(0.5)\n    return 0", tmp_path, hang_up=signal.SIG_IGN)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=30)
    assert process.returncode == 0


_BATCH = """
import sys
from onnxnorm.cli import entry
sys.executable = "./interpreter"
sys.argv[1:] = ["optimize", "in", "out", "--jobs", "2", "--json"]
entry()
"""
_OF_A_BATCH = """#!{python}
import os, sys, time
from onnxnorm.cli import entry, optimize

def work(*_):
    print(os.getpid(), file=open("pids", "a"), flush=True)
    time.sleep(60)

optimize._optimize = work
sys.argv[1:] = sys.argv[3:]
entry()
"""


@pytest.mark.skipif(not FORKS, reason="reads /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_batch_leaves_no_process_and_no_file_behind(number: signal.Signals, tmp_path: Path) -> None:
    """The processes of a batch are not told of a signal to the batch alone."""
    (tmp_path / "in").mkdir()
    for name in ("a", "b", "c"):
        onnx.save(conv_bn_lrn(), tmp_path / "in" / f"{name}.onnx")
    interpreter = tmp_path / "interpreter"
    interpreter.write_text(_OF_A_BATCH.format(python=sys.executable))
    interpreter.chmod(0o755)
    batch = start_python(["-c", _BATCH], tmp_path)
    pids = tmp_path / "pids"
    while not pids.exists() or len(pids.read_text().splitlines()) < 2:
        time.sleep(0.02)
    batch.send_signal(number)
    out, err = batch.communicate(timeout=30)
    if number != signal.SIGKILL:
        assert (batch.returncode, err) == (130, "onnxnorm: interrupted\n")
        assert json.loads(out) == {"error": "interrupted", "exit_code": 130}
    started = time.monotonic()
    while (alive := [pid for pid in pids.read_text().split() if _is_alive(int(pid))]) and (
        number == signal.SIGKILL and time.monotonic() - started < 10
    ):
        time.sleep(0.02)
    assert not alive
    assert len(pids.read_text().split()) == 2, "the third has not begun"
    assert not list((tmp_path / "out").glob("*.onnx"))
