"""Tests of `onnxnorm doctor`, onnxnorm/_cli/doctor.py and onnxnorm/_doctor.py."""

from __future__ import annotations

import json

import numpy as np
import onnx
import onnxruntime
import pytest

from onnxnorm import _cli, _doctor, reference
from onnxnorm._runtime import find_library
from tests.cli.samples import Captured


def test_doctor_names_the_parts_and_tests_the_operators(capsys: Captured) -> None:
    assert _cli.main(["doctor", "--json"]) == 0
    checks = {check["name"]: check for check in json.loads(capsys.readouterr().out)["checks"]}
    assert checks["onnxruntime"]["detail"] == onnxruntime.__version__
    assert checks["onnx"]["detail"] == onnx.__version__
    for op_type in ("InterChannelLRN", "IntraChannelLRN"):
        assert checks[f"{op_type}, portable body"]["status"] == "ok"
    assert checks["native library"]["status"] == ("note" if find_library() is None else "ok")


def test_doctor_fails_where_an_operator_computes_something_else(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(_doctor._SELF_TESTS, "InterChannelLRN", {"size": 3, "alpha": 0.5, "beta": 0.75, "bias": 1.0})
    monkeypatch.setattr(reference, "inter_channel_lrn", lambda x, **_: np.asarray(x, np.float64) * 2)
    assert _cli.main(["doctor"]) == 1
    assert "does not compute its formula" in capsys.readouterr().out


def test_doctor_says_what_a_missing_library_costs(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    real = _doctor.metadata.version

    def version(name: str) -> str:
        if name == "torch":
            raise _doctor.metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(_doctor.metadata, "version", version)
    assert _cli.main(["doctor", "--json"]) == 0
    (check,) = [c for c in json.loads(capsys.readouterr().out)["checks"] if c["name"] == "torch"]
    assert check["status"] == "note"
    assert "export" in check["detail"] and "pip install" in check["detail"]
