"""Tests of onnxnorm/cli/__init__.py: help, usage, bad files, and how a command ends."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import warnings
from pathlib import Path

import pytest

import onnxnorm
from onnxnorm import cli
from onnxnorm.cli import inspect as inspect_command
from onnxnorm.errors import OnnxNormError, OnnxNormWarning
from testing.interruptible import start_python
from tests.cli.samples import ROOT, Captured, command_line, conv_bn_lrn, fails

HEAVY = {"torch", "onnx", "onnxruntime", "onnx_ir", "onnxscript", "numpy", "rich"}
COMMANDS = ("export", "optimize", "fold", "inspect", "verify", "run", "doctor")


@pytest.mark.parametrize("arguments", [("--help",), *((command, "--help") for command in COMMANDS)])
def test_help_imports_nothing_heavy(arguments: tuple[str, ...]) -> None:
    code = textwrap.dedent(f"""
        import sys
        from onnxnorm.cli import main
        try:
            main({list(arguments)!r})
        except SystemExit as stop:
            assert stop.code == 0
        print(sorted({{name.partition(".")[0] for name in sys.modules}} & {HEAVY!r}))
    """)
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.startswith(" ".join(["usage: onnxnorm", *arguments[:-1]]))
    assert finished.stdout.splitlines()[-1] == "[]"


def test_help_names_every_command(capsys: Captured) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert all(f"\n    {command} " in text for command in COMMANDS)


def test_version(capsys: Captured) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out.startswith("onnxnorm ")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), "COMMAND"),
        (("nosuch",), "'nosuch'"),
        (("optimize",), "in.onnx, out.onnx"),
        (("optimize", "a.onnx"), "out.onnx"),
        (("optimize", "a.onnx", "b.onnx", "c.onnx"), "c.onnx"),
        (("inspect", "a.onnx", "--nosuch"), "--nosuch"),
        (("run", "a.onnx", "--repeat", "0"), "at least 1"),
        (("run", "a.onnx", "--repeat", "x"), "at least 1"),
        (("run", "a.onnx", "--shape", "x:1,a"), "'x:1,a' is no shape"),
        (("run", "a.onnx", "--shape", ""), "is no shape"),
        (("verify", "a.onnx", "b.onnx", "--shape", "x:1,-2"), "'x:1,-2' is no shape"),
        (("verify", "a.onnx", "b.onnx", "--seed", "x"), "--seed"),
        (("export", "models:alexnet"), "out.onnx"),
    ],
)
def test_wrong_usage_is_one_line_and_code_2(capsys: Captured, arguments: tuple[str, ...], expected: str) -> None:
    assert expected in fails(capsys, 2, *arguments)


def test_exit_codes_of_the_process(model_path: Path, tmp_path: Path) -> None:
    wrong = command_line("optimize", tmp_path / "missing.onnx", tmp_path / "out.onnx")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr.startswith("onnxnorm: error: ") and wrong.stderr.count("\n") == 1
    right = command_line("inspect", model_path)
    assert (right.returncode, right.stderr) == (0, "")


def _bad_file(kind: str, folder: Path) -> Path:
    path = folder / "bad.onnx"
    if kind == "folder":
        path.mkdir()
    elif kind == "text":
        path.write_text("this is no model\n")
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "truncated":
        data = conv_bn_lrn().SerializeToString()
        path.write_bytes(data[: len(data) // 2])
    elif kind == "dangling":
        model = conv_bn_lrn()
        model.graph.node[1].input[0] = "nowhere"
        path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("kind", ["missing", "folder", "text", "empty", "truncated", "dangling"])
@pytest.mark.parametrize("command", ["optimize", "fold", "inspect", "verify", "run"])
def test_bad_models_are_one_line_that_names_the_file(capsys: Captured, tmp_path: Path, command: str, kind: str) -> None:
    path = _bad_file(kind, tmp_path)
    more = {"optimize": [tmp_path / "out.onnx"], "fold": [tmp_path / "out.onnx"], "verify": [path]}
    message = fails(capsys, 2, command, path, *more.get(command, []))
    assert "bad.onnx" in message
    assert not (tmp_path / "out.onnx").exists()


@pytest.mark.parametrize("command", ["optimize", "fold"])
def test_unwritable_outputs_are_refused_before_the_work(
    capsys: Captured, tmp_path: Path, model_path: Path, command: str
) -> None:
    assert "does not exist" in fails(capsys, 2, command, model_path, tmp_path / "nosuch" / "out.onnx")
    assert "is a folder" in fails(capsys, 2, command, model_path, tmp_path)


def test_warnings_are_one_line_on_stderr(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    def warn(_: object) -> int:
        warnings.warn("runs on\nportable bodies", OnnxNormWarning, stacklevel=2)
        return 0

    monkeypatch.setattr(inspect_command, "run", warn)
    assert cli.main(["inspect", "x.onnx"]) == 0
    assert capsys.readouterr().err == "onnxnorm: warning: runs on portable bodies\n"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="POSIX pipes")
def test_devices_and_pipes_are_not_replaced(capsys: Captured, tmp_path: Path, model_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert "no regular file" in fails(capsys, 2, "optimize", model_path, pipe)
    assert pipe.is_fifo()


@pytest.mark.skipif(os.name == "nt", reason="POSIX links")
def test_links_are_followed_where_they_lead_somewhere(capsys: Captured, tmp_path: Path, model_path: Path) -> None:
    (tmp_path / "ahead").symlink_to("new.onnx")
    assert cli.main(["optimize", str(model_path), str(tmp_path / "ahead"), "--no-verify"]) == 0
    assert (tmp_path / "ahead").is_symlink() and (tmp_path / "new.onnx").is_file()
    capsys.readouterr()
    (tmp_path / "circle").symlink_to("circle")
    (tmp_path / "nowhere").symlink_to("nosuch/new.onnx")
    assert "in a circle" in fails(capsys, 2, "optimize", model_path, tmp_path / "circle")
    assert "does not exist" in fails(capsys, 2, "optimize", model_path, tmp_path / "nowhere")
    with pytest.raises(OnnxNormError, match="in a circle"):
        onnxnorm.optimize(model_path, verify=False).save(tmp_path / "circle")
    fails(capsys, 2, "inspect", tmp_path / "circle")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_read_only_folders_are_refused(capsys: Captured, tmp_path: Path, model_path: Path) -> None:
    folder = tmp_path / "fixed"
    folder.mkdir()
    folder.chmod(0o500)
    assert "cannot be written to" in fails(capsys, 2, "optimize", model_path, folder / "out.onnx")


def test_a_missing_dependency_is_one_line(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    def lack(_: object) -> int:
        raise ModuleNotFoundError("No module named 'onnx'", name="onnx")

    monkeypatch.setattr(inspect_command, "run", lack)
    message = fails(capsys, 1, "inspect", "x.onnx")
    assert "No module named 'onnx'" in message and "onnxnorm doctor" in message


def test_errors_of_our_own_keep_their_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def blunder(_: object) -> int:
        raise ModuleNotFoundError("No module named 'onnxnorm._nosuch'", name="onnxnorm._nosuch")

    monkeypatch.setattr(inspect_command, "run", blunder)
    with pytest.raises(ModuleNotFoundError):
        cli.main(["inspect", "x.onnx"])


def test_interrupting_is_code_130(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(inspect_command, "run", interrupt)
    assert cli.main(["inspect", "x.onnx"]) == 130
    assert capsys.readouterr().err == "onnxnorm: interrupted\n"


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_ctrl_c_ends_the_process_and_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text("import time\nprint('ready', flush=True)\ntime.sleep(60)\n")
    before = {path.name for path in tmp_path.iterdir()}
    process = start_python(["-B", "-m", "onnxnorm", "export", "slow:model", "out.onnx", "--shape", "1"], tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130
    assert stderr == "onnxnorm: interrupted\n"
    assert {path.name for path in tmp_path.iterdir()} == before


@pytest.mark.skipif(os.name == "nt", reason="POSIX pipes")
def test_a_reader_that_goes_away_is_no_error(model_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        finished = subprocess.run(
            [sys.executable, "-m", "onnxnorm", "inspect", str(model_path)],
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
    finally:
        os.close(writing)
    assert finished.returncode == 141
    assert finished.stderr == ""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a terminal that can be faked")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["optimize", "in.onnx", "out.onnx"],
            ["reading in.onnx", "optimizing in.onnx", "verifying", "writing out.onnx"],
        ),
        (["optimize", ".", "many"], ["optimizing", "1/1"]),
        (["verify", "in.onnx", "in.onnx"], ["running both"]),
        (["inspect", "in.onnx"], ["optimizing a copy of in.onnx"]),
        (["run", "in.onnx"], ["running in.onnx"]),
    ],
)
def test_progress_shows_on_a_terminal_and_nowhere_else(
    tmp_path: Path, model_path: Path, arguments: list[str], words: list[str]
) -> None:
    import pty

    command = [sys.executable, "-m", "onnxnorm", *arguments]
    screen, terminal = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "200"}
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=terminal, cwd=tmp_path, env=environment, stdin=subprocess.DEVNULL
    )
    os.close(terminal)
    shown = b""
    with contextlib.suppress(OSError):  # a terminal that nobody holds any more
        while data := os.read(screen, 65536):
            shown += data
    os.close(screen)
    assert process.wait() == 0
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown.decode())
    for word in words:
        assert word in text
    shutil.rmtree(tmp_path / "many", ignore_errors=True)
    quiet = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert (quiet.returncode, quiet.stderr) == (0, "")
