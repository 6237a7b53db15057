"""Tests of `onnxnorm doctor`, onnxnorm/cli/doctor.py and onnxnorm/runtime/doctor.py."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from onnxnorm import cli, reference
from onnxnorm.runtime import doctor
from onnxnorm.runtime.library import find_library
from tests.cli.samples import Captured


def test_doctor_names_the_parts_and_tests_the_operators(capsys: Captured) -> None:
    assert cli.main(["doctor", "--json"]) == 0
    checks = {check["name"]: check for check in json.loads(capsys.readouterr().out)["checks"]}
    assert checks["onnxruntime"]["detail"] == onnxruntime.__version__
    assert checks["onnx"]["detail"] == onnx.__version__
    for op_type in ("InterChannelLRN", "IntraChannelLRN"):
        assert checks[f"{op_type}, portable body"]["status"] == "ok"
    assert checks["native library"]["status"] == ("note" if find_library() is None else "ok")


def test_doctor_fails_where_an_operator_computes_something_else(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(doctor._SELF_TESTS, "InterChannelLRN", {"size": 3, "alpha": 0.5, "beta": 0.75, "bias": 1.0})
    monkeypatch.setattr(reference, "inter_channel_lrn", lambda x, **_: np.asarray(x, np.float64) * 2)
    assert cli.main(["doctor"]) == 1
    assert "does not compute its formula" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "code", "status", "words"),
    [
        ("torch", 0, "note", ("not installed", "export", 'pip install "onnxnorm[torch]"')),
        ("onnxscript", 1, "failed", ("not installed", "pip install onnxscript")),
    ],
)
def test_doctor_says_what_a_missing_library_costs(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch, name: str, code: int, status: str, words: tuple[str, ...]
) -> None:
    real = doctor.metadata.version

    def version(asked: str) -> str:
        if asked == name:
            raise doctor.metadata.PackageNotFoundError(asked)
        return real(asked)

    monkeypatch.setattr(doctor.metadata, "version", version)
    monkeypatch.setitem(sys.modules, name, None)
    assert cli.main(["doctor", "--json"]) == code
    (check,) = [check for check in json.loads(capsys.readouterr().out)["checks"] if check["name"] == name]
    assert check["status"] == status
    for word in words:
        assert word in check["detail"]


def test_doctor_finds_libraries_that_are_installed_and_do_not_load(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    assert cli.main(["doctor"]) == 1
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("onnxscript")]
    assert "failed" in line and "importing it fails" in line


def _checks(capsys: Captured) -> dict[str, dict[str, str]]:
    return {check["name"]: check for check in json.loads(capsys.readouterr().out)["checks"]}


def test_doctor_finds_a_library_that_is_missing_or_none_and_goes_on(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "library.so"
    monkeypatch.setenv("ONNXNORM_LIBRARY", str(path))
    assert cli.main(["doctor", "--json"]) == 1
    checks = _checks(capsys)
    assert checks["native library"]["status"] == "failed"
    assert str(path) in checks["native library"]["detail"]
    assert checks["IntraChannelLRN, portable body"]["status"] == "ok"
    path.write_text("no library")
    assert cli.main(["doctor", "--json"]) == 1
    checks = _checks(capsys)
    assert checks["instruction set"]["status"] == "failed"
    assert "cannot load" in checks["IntraChannelLRN, native kernel"]["detail"]
    assert checks["IntraChannelLRN, portable body"]["status"] == "ok"


@pytest.mark.skipif(find_library() is None, reason="the native library is not installed")
def test_doctor_names_the_instruction_set(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONNXNORM_ISA", "baseline")
    assert cli.main(["doctor", "--json"]) == 0
    checks = _checks(capsys)
    assert checks["instruction set"]["status"] == "ok"
    assert checks["instruction set"]["detail"].startswith("baseline, chosen by ONNXNORM_ISA")
    assert checks["IntraChannelLRN, native kernel"]["status"] == "ok"
    monkeypatch.setenv("ONNXNORM_ISA", "nosuch")
    assert cli.main(["doctor", "--json"]) == 1
    checks = _checks(capsys)
    assert checks["instruction set"]["status"] == "failed"
    assert "nosuch" in checks["IntraChannelLRN, native kernel"]["detail"]
    monkeypatch.delenv("ONNXNORM_ISA")
    assert cli.main(["doctor", "--json"]) == 0
    assert "chosen by itself" in _checks(capsys)["instruction set"]["detail"]
