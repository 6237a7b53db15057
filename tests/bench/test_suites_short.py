"""ONNX's backend suite in short: models spread over all operators, for every target, at five opsets."""

from __future__ import annotations

import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest

import onnxnorm
from bench.suites import FAULTS, OPSETS, examine, run, write_cases
from onnxnorm.passes.targets import TARGETS

EVERY = 61


def test_every_61st_model_is_right_everywhere_or_refused_with_reason(tmp_path: Path) -> None:
    chosen = write_cases(tmp_path)[::EVERY]
    found = dict(run(chosen, tmp_path, workers=1))
    faults = [(name, *one) for name, ones in found.items() for one in ones if one[1] in FAULTS]
    assert not faults
    steps = {f"target {target}" for target in TARGETS} | {f"opset {opset}" for opset in OPSETS}
    whole = [name for name, ones in found.items() if {step for step, _, _ in ones} == steps]
    skipped = [name for name, ones in found.items() if [one[:2] for one in ones] == [("original", "skipped")]]
    assert sorted(whole + skipped) == sorted(chosen)
    assert len(whole) > 20


def _model(op_type: str, opset: int = 14) -> onnx.ModelProto:
    return onnx.parser.parse_model(
        f"""<ir_version: 7, opset_import: ["": {opset}]> g (float[3] x) => (float[3] y) {{ y = {op_type} (x) }}"""
    )


def _refuse(*_: Any, **options: Any) -> Any:
    if options.get("opset") is None:
        return SimpleNamespace(model=_model("Relu"))
    raise onnxnorm.OnnxNormError("cannot be converted")


def _fail(*_: Any, **__: Any) -> Any:
    raise KeyError("name")


@pytest.mark.parametrize(
    ("optimize", "target", "opset"),
    [
        (onnxnorm.optimize, "right", "right"),
        (lambda *_, **__: SimpleNamespace(model=_model("Abs")), "wrong", "wrong"),
        (lambda *_, **__: SimpleNamespace(model=_model("Gelu")), "wrong", "wrong"),
        (_refuse, "right", "needless"),
        (_fail, "error", "error"),
    ],
)
def test_what_is_wrong_or_refused_without_need_is_a_fault(
    optimize: Any, target: str, opset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Relu as it is, another operator, one that the opset lacks, a refusal that the number disproves, a crash."""
    x = np.array([-1, 0, 2], np.float32)
    record = (_model("Relu").SerializeToString(), [x], [np.maximum(x, 0)], 1e-3, 1e-7)
    (tmp_path / "test_relu.pickle").write_bytes(pickle.dumps(record))
    monkeypatch.setattr(onnxnorm, "optimize", optimize)
    found = {step: verdict for step, verdict, _ in examine("node/test_relu", tmp_path)}
    assert {verdict for step, verdict in found.items() if step.startswith("target")} == {target}
    assert {verdict for step, verdict in found.items() if step.startswith("opset")} == {opset}
