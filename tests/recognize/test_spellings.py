"""Each spelling becomes exactly one node that computes its formula; its twin with a mistake stays, with the reason."""

from __future__ import annotations

from collections import Counter
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnxruntime import InferenceSession

import onnxnorm
from onnxnorm.evaluate.evaluator import evaluate_float64
from onnxnorm.optimizer.inspect import Fate, examine
from tests.recognize.spellings import IMAGE, SPELLINGS, Net, Spelling

PASSES = ("infer_shapes", "recognize", "clean")
NORMALIZATIONS = {
    "BatchNormalization", "GroupNormalization", "InstanceNormalization", "InterChannelLRN", "IntraChannelLRN", "LRN",
    "LayerNormalization", "LpNormalization", "MeanVarianceNormalization", "RMSNormalization",
}  # fmt: skip
CASES = [(spelling, opset) for spelling in SPELLINGS for opset in spelling.opsets]


def _model(write: Any, shape: tuple[Any, ...], opset: int, dtype: Any = np.float32) -> onnx.ModelProto:
    net = Net(opset=opset, dtype=dtype, ir_version=10)
    y = write(net, net.input(shape))
    net.output(y, shape=shape)
    model = net.model()
    onnx.checker.check_model(model, full_check=True)
    return model


def _raised(model: onnx.ModelProto) -> onnx.ModelProto:
    # A target that runs each normalization as one node.
    result = onnxnorm.optimize(model, passes=PASSES, target="tensorrt", verify=False).model
    assert isinstance(result, onnx.ModelProto)
    onnx.checker.check_model(result, full_check=True)
    return result


def _ops(model: onnx.ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)


def _feeds(shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    return {"x": np.random.default_rng(3).normal(0.4, 1.3, shape).astype(np.float32)}


@pytest.mark.parametrize(("spelling", "opset"), CASES, ids=lambda value: getattr(value, "name", value))
def test_a_spelling_becomes_one_node(spelling: Spelling, opset: int) -> None:
    raised = _raised(_model(spelling.write, spelling.shape, opset))
    assert _ops(raised) == {spelling.becomes: 1, **spelling.beside}
    feeds = _feeds(spelling.shape)
    (got,) = evaluate_float64(raised, feeds).values()
    want = spelling.formula(feeds["x"])
    # Constants and attributes are float32.
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-6 * np.abs(want).max())


# ONNX defines MeanVarianceNormalization in float32; onnxruntime runs no InstanceNormalization in double; that the scale
# of "sums over a count" is one gets lost in the digits of a half type; folding takes batch norms of half types as the
# affines that they are.
NOT_IN_DOUBLE = {"MeanVarianceNormalization", "InstanceNorm", "InstanceNorm by pooling"}
NOT_IN_HALF = {"MeanVarianceNormalization", "sums over a count", "batch norm written out", "FrozenBatchNorm2d"}


@pytest.mark.parametrize("spelling", SPELLINGS, ids=lambda spelling: spelling.name)
@pytest.mark.parametrize("dtype", [np.float64, np.float16, ml_dtypes.bfloat16])
def test_other_types(spelling: Spelling, dtype: Any) -> None:
    """Everything is in one type: what is raised computes the same formula, with constants of that type."""
    model = _model(spelling.write, spelling.shape, spelling.opsets[-1], dtype)
    raised = _raised(model)
    feeds = {"x": _feeds(spelling.shape)["x"].astype(dtype)}
    (got,), (want,) = (evaluate_float64(m, feeds).values() for m in (raised, model))
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-6 * np.abs(want).max())
    unknown = NOT_IN_DOUBLE if dtype is np.float64 else NOT_IN_HALF
    if dtype is ml_dtypes.bfloat16 and spelling.becomes == "LpNormalization" and spelling.opsets[-1] < 22:
        unknown = {spelling.name}  # the operator does not take the type
    if spelling.name in unknown:
        assert _ops(raised)[spelling.becomes] == 0
        return
    # onnxruntime has LRN in float32 and float16 alone: the operator with a body of its own takes its place.
    other = {"LRN": "InterChannelLRN"} if dtype is not np.float16 else {}
    assert _ops(raised) == {other.get(spelling.becomes, spelling.becomes): 1, **spelling.beside}


@pytest.mark.parametrize("spelling", SPELLINGS, ids=lambda spelling: spelling.name)
@pytest.mark.parametrize("opened", [("batch",), ("batch", 4, "height", "width")])
def test_axes_may_be_open(spelling: Spelling, opened: tuple[Any, ...]) -> None:
    """What is raised at one length holds at all."""
    if "GroupNorm" in spelling.name:
        pytest.skip("the graph has the batch as a constant; exports with it open are tested by themselves")
    if len(opened) > 1 and (spelling.shape != IMAGE or not _takes_any_size(spelling)):
        pytest.skip("the graph has its lengths as constants")
    model = _model(spelling.write, (*opened, *spelling.shape[len(opened) :]), spelling.opsets[-1])
    raised = _raised(model)
    assert _ops(raised) == {spelling.becomes: 1, **spelling.beside}
    shape = spelling.shape if len(opened) == 1 else (2, 4, 7, 2)
    feeds = _feeds(shape)
    (got,) = evaluate_float64(raised, feeds).values()
    want = spelling.formula(feeds["x"])
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-6 * np.abs(want).max())


def _takes_any_size(spelling: Spelling) -> bool:
    """Whether no constant of the graph holds a height or width."""
    return "AveragePool" not in spelling.name.removeprefix("intra-channel") and not any(
        part in spelling.name for part in ("negative", "roots", "Concat")
    )


@pytest.mark.parametrize("spelling", SPELLINGS, ids=lambda spelling: spelling.name)
def test_its_twin_with_a_mistake_stays(spelling: Spelling) -> None:
    model = _model(spelling.mistake, spelling.shape, spelling.opsets[-1])
    result = onnxnorm.optimize(model, passes=PASSES, verify=False)
    after = result.model
    assert isinstance(after, onnx.ModelProto)
    # It may be another normalization, or part of one: what counts is that it computes what it did.
    feeds = _feeds(spelling.shape)
    (got,), (want,) = (evaluate_float64(m, feeds).values() for m in (after, model))
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-6 * np.abs(want).max())
    before = _ops(model)
    assert _ops(after)[spelling.becomes] == before[spelling.becomes]
    if spelling.says:
        reasons = [decline.reason for decline in result.declined if decline.kind]
        assert any(spelling.says in reason for reason in reasons), reasons


@pytest.mark.parametrize("spelling", SPELLINGS, ids=lambda spelling: spelling.name)
def test_inspect_names_it(spelling: Spelling) -> None:
    target = "tensorrt" if spelling.becomes == "GroupNormalization" else "portable"
    _, records = examine(_model(spelling.write, spelling.shape, spelling.opsets[-1]), target=target)
    assert [record.op_type for record in records] == [spelling.becomes]
    # Portable files hold an LRN as plain operators, in a form that runtimes run faster than the node.
    is_lrn = spelling.becomes in ("LRN", "IntraChannelLRN")
    assert records[0].fate is (Fate.WRITTEN_OUT if is_lrn else Fate.RECOGNIZED)


@pytest.mark.parametrize("spelling", SPELLINGS, ids=lambda spelling: spelling.name)
def test_a_raised_node_goes_to_its_kernel_at_once(spelling: Spelling) -> None:
    """The shapes of what was put in place of the spelling are known: a second run finds nothing more to do."""
    model = _model(spelling.write, spelling.shape, spelling.opsets[-1])
    once = onnxnorm.optimize(model, target="onnxruntime", verify=False).model
    again = onnxnorm.optimize(once, target="onnxruntime", verify=False)
    assert _ops(again.model) == _ops(once)
    assert not again.rewrites


@pytest.mark.parametrize("opset", [17, 22])
def test_what_is_raised_in_double_runs_in_onnxruntime(opset: int) -> None:
    spelling = next(each for each in SPELLINGS if each.name == "InstanceNorm")
    model = _model(spelling.write, spelling.shape, opset, np.float64)
    feeds = {"x": _feeds(spelling.shape)["x"].astype(np.float64)}
    got, want = (
        InferenceSession(each.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, feeds)[0]
        for each in (_raised(model), model)
    )
    np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-9)
