"""Tests of what a result shows of itself, and that it goes wherever a model goes."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest

import onnxnorm
from onnxnorm.optimizer.records import Account
from testing.builder import Builder
from tests.cli.samples import conv_bn_lrn

LEFT = "left"


def _model() -> onnx.ModelProto:
    """A BatchNormalization that folds and one that cannot, since another operator stands on either side."""
    b = Builder(dtype=np.float32)
    x = b.input((2, 3, 6, 6))
    folded = b.batch_norm(b.conv(x, 3, 4, (3, 3)), 4)
    left = b.batch_norm(b.node("Sin", folded), 4)
    return b.model(b.node("Exp", left))


@pytest.fixture(scope="module")
def result() -> onnxnorm.OptimizeResult[onnx.ModelProto]:
    return onnxnorm.optimize(_model(), verify=False)


def test_a_result_of_a_large_model_prints_in_a_line(result: onnxnorm.OptimizeResult) -> None:
    text = repr(result)
    assert len(text) < 120
    assert "\n" not in text
    assert f"{len(result.rewrites)} rewrite" in text
    assert "1 normalization left" in text
    assert f"{len(onnx_nodes(result))} nodes" in text


def onnx_nodes(result: onnxnorm.OptimizeResult) -> list[onnx.NodeProto]:
    assert isinstance(result.model, onnx.ModelProto)
    return list(result.model.graph.node)


def test_a_notebook_shows_tables_with_every_text_escaped() -> None:
    model = _model()
    for node in model.graph.node:
        node.name = f"<b>{node.output[0]}</b>"
    shown = onnxnorm.optimize(model, verify=False)._repr_html_()
    assert "<table>" in shown
    assert "&lt;b&gt;" in shown
    assert "<b>" not in shown.replace("<p><b>", "")


def test_the_dictionary_is_json_and_complete(result: onnxnorm.OptimizeResult) -> None:
    record = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert [each["detail"] for each in record["rewrites"]] == [each.detail for each in result.rewrites]
    assert [each["reason"] for each in record["declined"]] == [each.reason for each in result.declined]
    assert record["nodes"] == len(onnx_nodes(result))


def test_a_data_frame_has_a_row_for_each_rewrite_and_each_decline(
    result: onnxnorm.OptimizeResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []
    pandas = ModuleType("pandas")
    pandas.DataFrame = lambda rows, columns: made.append((rows, columns)) or "frame"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pandas", pandas)
    assert result.to_dataframe() == "frame"
    ((rows, columns),) = made
    assert len(rows) == len(result.rewrites) + len(result.declined)
    assert all(len(row) == len(columns) for row in rows)
    assert [row[0] for row in rows].count(LEFT) == 1


def test_what_inspect_returns_shows_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    records = onnxnorm.inspect(conv_bn_lrn())
    assert isinstance(records, tuple) and {each.node for each in records} == {"bn", "lrn"}
    assert records.account == Account.of(records)
    assert repr(records) == f"<NormRecords: {records.account}>"
    document = json.loads(json.dumps(records.to_dict(), allow_nan=False))
    assert [each["fate"] for each in document["normalizations"]] == [each.fate.value for each in records]
    assert document["account"]["before"] == 2
    assert "<table>" in records._repr_html_() and "lrn" in records._repr_html_()
    made: list[Any] = []
    pandas = ModuleType("pandas")
    pandas.DataFrame = lambda rows, columns: made.append((rows, columns)) or "frame"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pandas", pandas)
    assert records.to_dataframe() == "frame"
    ((rows, columns),) = made
    assert [dict(zip(columns, row, strict=True))["node"] for row in rows] == [each.node for each in records]
    assert [dict(zip(columns, row, strict=True))["fate"] for row in rows] == [each.fate.value for each in records]


def test_a_data_frame_without_pandas_says_how_to_get_it(
    result: onnxnorm.OptimizeResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(onnxnorm.OnnxNormError, match="pip install pandas"):
        result.to_dataframe()


@pytest.mark.parametrize("form", ["path", "proto", "ir"])
def test_a_result_goes_wherever_a_model_goes(form: str, tmp_path: Path) -> None:
    model = _model()
    onnx.save(model, tmp_path / "in.onnx")
    given: Any = {"path": tmp_path / "in.onnx", "proto": model, "ir": ir.from_proto(model)}[form]
    result = onnxnorm.optimize(given)
    kind = ir.Model if form == "ir" else onnx.ModelProto
    assert type(result.model) is kind
    report = onnxnorm.verify(given, result)
    assert report
    assert len(repr(report)) < 400
    assert "<table>" in report._repr_html_()
    assert [record.kind for record in onnxnorm.inspect(result)] == ["BatchNormalization"]
    again = onnxnorm.optimize(result)
    assert type(again.model) is kind
    assert again.rewrites == ()
    feeds = {name: np.ones((2, 3, 6, 6), np.float32) for name in [model.graph.input[0].name]}
    (of_result,) = onnxnorm.session(result).run(None, feeds)
    (of_model,) = onnxnorm.session(model).run(None, feeds)
    np.testing.assert_allclose(of_result, of_model, rtol=1e-3, atol=1e-5)


def test_what_carries_no_model_is_refused() -> None:
    for wrong in (3, None, object()):
        with pytest.raises(onnxnorm.OnnxNormError, match="a model is a path"):
            onnxnorm.optimize(wrong)  # type: ignore[call-overload]


def test_what_is_no_model_is_told_with_what_makes_one_of_it() -> None:
    model = _model()
    cases = {
        "onnx.load_model_from_string": model.SerializeToString(),
        "give the path of the file": io.BytesIO(model.SerializeToString()),
        "onnx.helper.make_model": model.graph,
    }
    for advice, wrong in cases.items():
        with pytest.raises(onnxnorm.OnnxNormError, match=advice):
            onnxnorm.optimize(wrong)  # type: ignore[call-overload]


def test_an_unprovable_model_says_how_to_do_without_the_proof() -> None:
    b = Builder(dtype=np.float32, opsets={"com.acme": 1})
    model = b.model(b.node("Mystery", b.batch_norm(b.conv(b.input((2, 3, 6, 6)), 3, 4, (3, 3)), 4), domain="com.acme"))
    with pytest.raises(onnxnorm.OnnxNormError, match="verify=False"):
        onnxnorm.optimize(model)
    assert onnxnorm.optimize(model, verify=False).rewrites


def test_both_faces_verify_by_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from onnxnorm.cli import main
    from onnxnorm.verification import verify as verification

    calls: list[int] = []
    real = verification.verify_source
    monkeypatch.setattr(verification, "verify_source", lambda *a, **k: calls.append(1) or real(*a, **k))
    path = tmp_path / "in.onnx"
    onnx.save(_model(), path)
    onnxnorm.optimize(path)
    onnxnorm.fold(path)
    main(["optimize", str(path), str(tmp_path / "out.onnx")])
    main(["fold", str(path), str(tmp_path / "out.onnx")])
    assert len(calls) == 4
    onnxnorm.optimize(path, verify=False)
    onnxnorm.fold(path, verify=False)
    main(["optimize", str(path), str(tmp_path / "out.onnx"), "--no-verify"])
    assert len(calls) == 4


def test_what_is_partly_absorbed_is_counted_apart() -> None:
    """A shift before Relu stays as one Add, and the scale goes into the convolution behind it."""
    b = Builder(dtype=np.float32)
    x = b.input((2, 3, 64, 64))
    scaled = b.affine(x, [2, 3, 5], [1, -1, 2])
    shown = repr(onnxnorm.optimize(b.model(b.conv(b.node("Relu", scaled), 3, 4, (3, 3))), verify=False))
    assert "0 normalizations left, 1 partly absorbed" in shown
