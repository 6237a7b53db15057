"""What verification withstands: no room for models and inputs, nodes at which onnxruntime ends the process."""

from __future__ import annotations

import resource
import subprocess
import sys
from functools import partial
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from onnxnorm.errors import OnnxNormError
from onnxnorm.optimizer.optimize import optimize
from onnxnorm.verification import memory_needed
from onnxnorm.verification.verify import verify


def test_what_does_not_fit_into_memory_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights of 40 GB in a file that is all hole: to read them would take as long as it takes to fill the memory."""
    count = 10**10
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[count, 1], data_location=1)
    tensor.external_data.add(key="location", value="weights")
    with (tmp_path / "weights").open("wb") as file:
        file.truncate(4 * count)
    sizes = {"x": count, "y": 1}
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, size]) for name, size in sizes.items()]
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], "large", values[:1], values[1:], [tensor]
    )
    path = tmp_path / "in.onnx"
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    for attempt in (partial(verify, path, path), partial(optimize, path, verify=True)):
        with pytest.raises(OnnxNormError, match=r"40\.0 GB; verifying it would take about 120 GB"):
            attempt()
    monkeypatch.setattr(memory_needed, "available_memory", lambda: 10**9)
    model.graph.initializer[0].dims[0] = 10**8
    path.write_bytes(model.SerializeToString())
    with pytest.raises(OnnxNormError, match=r"about 3 GB of memory, and 1\.0 GB are free"):
        verify(path, path)


@pytest.mark.parametrize("extent", [2**62, 10**12])
def test_inputs_that_no_memory_holds_are_refused(extent: int) -> None:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, extent]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "large", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    with pytest.raises(OnnxNormError, match=f"large: .*input 'x' of shape .*{extent}.* than there is memory; give a"):
        verify(model, model)
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "n"
    with pytest.raises(OnnxNormError, match="give a smaller shape"):
        verify(model, model, shapes={"x": [1, extent]})


@pytest.mark.parametrize("dims", [[0, 2**62, 8], [2**62, 0, 8], [2**40, 2**40, 1]])
def test_inputs_that_numpy_cannot_hold_are_refused_also_where_they_are_empty(dims: list[int]) -> None:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, dims)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "vast", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    with pytest.raises(OnnxNormError, match=r"vast: .*input 'x' .* than there is memory"):
        verify(model, model)


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is that of Linux")
def test_the_memory_of_the_process_is_what_there_is() -> None:
    code = """if True:
        import resource
        from onnxnorm.process.memory import available_memory
        before = available_memory()
        resource.setrlimit(resource.RLIMIT_AS, (2**30, resource.getrlimit(resource.RLIMIT_AS)[1]))
        print(min(before, 2**30) >= available_memory() > 0)"""
    assert resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"


def test_memory_that_runs_out_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> object:
        raise MemoryError

    monkeypatch.setattr("onnxnorm.verification.verify.collect", full)
    model = _random("scale = 1.0")
    with pytest.raises(OnnxNormError, match="noisy: verifying it takes more memory than there is; give smaller"):
        verify(model, model)


def test_a_value_that_no_memory_holds_is_said_to_be_one() -> None:
    # 2^48 bytes: more than a process can address.
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["": 17]>
        vast (float[1] x) => (float[1] y) <int64[2] to = {8388608, 8388608}> { z = Expand (x, to)
        y = ReduceMax <keepdims = 0> (z) }"""
    )
    with pytest.raises(OnnxNormError, match=r"vast: .*does not run with x.*not enough memory"):
        verify(model, model)


def _random(attribute: str) -> onnx.ModelProto:
    return onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["": 17]>
        noisy (float[2] x) => (float[2] y) {{ [noise] r = RandomNormal <shape = [2], {attribute}> () z = Mul (r, x)
        y = Sub (z, z) }}"""
    )


@pytest.mark.skipif(sys.platform != "linux", reason="a child of this process runs it")
def test_a_node_at_which_onnxruntime_ends_the_process_is_named(tmp_path: Path) -> None:
    model = _random("scale = 1.0")
    assert verify(model, model)
    node = model.graph.node[0]
    next(attribute for attribute in node.attribute if attribute.name == "scale").f = float("nan")
    path = tmp_path / "in.onnx"
    onnx.save(model, path)
    with pytest.raises(
        OnnxNormError, match=r"in\.onnx: onnxruntime ends the process \(SIGABRT\).*'noise' \(RandomNorm"
    ):
        optimize(path, verify=True)


@pytest.mark.skipif(sys.platform != "linux", reason="a child of this process runs it")
def test_a_model_that_runs_in_a_child_is_told_from_another() -> None:
    text = """<ir_version: 8, opset_import: ["": 17]>
        g (float[4, 3] x, int64[3] n) => (float[4, 3] y) { y = ReverseSequence (x, n) }"""
    one, other = onnx.parser.parse_model(text), onnx.parser.parse_model(text.replace("y)", "r)").replace("y =", "r ="))
    other.graph.output[0].name = "y"
    other.graph.node.append(helper.make_node("Mul", ["r", "r"], ["y"]))
    assert verify(one, one).oracle == "a float64 run of the original"
    report = verify(one, other)
    assert not report.passed and "output 'y'" in str(report.reason)
    other.graph.node[-1].op_type = "Reshape"
    report = verify(one, other)
    assert not report.passed and "the result does not run" in str(report.reason)


def test_an_original_that_does_not_run_is_told_from_a_result_of_another_face() -> None:
    model = _random("scale = 1.0")
    other = onnx.ModelProto.FromString(model.SerializeToString())
    other.graph.output[0].type.tensor_type.elem_type = TensorProto.INT8
    report = verify(model, other)
    assert not report.passed and "has the type INT8" in str(report.reason)
    with pytest.raises(OnnxNormError, match=r"noisy: onnxruntime cannot run the original: .*int8"):
        verify(other, model)


def test_an_input_of_no_type_is_told_by_name() -> None:
    model = _random("scale = 1.0")
    model.graph.input[0].type.tensor_type.elem_type = 0
    with pytest.raises(OnnxNormError, match="noisy: input 'x' has no element type"):
        verify(model, model)


def test_an_original_that_runs_by_chance_alone_is_told() -> None:
    """Its Transpose has fewer axes than its input, which onnxruntime does not notice once it is part of a MatMul."""
    text = """<ir_version: 8, opset_import: ["": 17]>
        g (double[2, 6, 5, 6] x) => (double[2, 6, 5] h, double[2, 6, 5, 5] y) <double c = {2}> {
            t = Transpose <perm = [0, 2, 1]> (x) h = Tanh (x) m = MatMul (h, t) y = Mul (m, c) }"""
    one = onnx.parser.parse_model(text)
    other = onnx.parser.parse_model(text.replace("h = Tanh", "a = Abs (t) h = Tanh").replace("(h, t)", "(h, a)"))
    report = verify(one, other)
    assert not report.passed
    assert "(optimizations on, without which the original does not run either)" in str(report.reason)
