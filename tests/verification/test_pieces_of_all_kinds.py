"""Models of every kind are judged rightly when tiny pieces are forced: right results pass, and mistakes do not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxnorm
from onnxnorm.verification import cuts
from onnxnorm.verification.cuts import Limits, PieceSizes
from onnxnorm.verification.verify import verify


@dataclass(frozen=True)
class Case:
    """A model in ONNX's text form, and what to replace in it to break it."""

    text: str
    right: str
    wrong: str
    in_pieces: bool = True
    opset: int = 21

    def model(self, *, broken: bool = False) -> onnx.ModelProto:
        assert self.right in self.text
        text = self.text.replace(self.right, self.wrong) if broken else self.text
        return onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["": {self.opset}, "own": 1]> {text}')


_CASES = {
    "If that captures values": Case(
        """g (float[2, 3] x) => (float[2, 3] y) <float zero = {0}> {
            a = Exp (x) b = Neg (a) s = ReduceSum <keepdims = 0> (b) c = Less (s, zero)
            d = If (c) <
                then_branch = t () => (float[2, 3] p) {
                    one = Constant <value = float {1}> () q = Add (a, one) p = Mul (q, b) },
                else_branch = e () => (float[2, 3] r) { r = Sub (a, b) }>
            f = Tanh (d) h = Add (f, a) y = Sin (h) }""",
        "float {1}",
        "float {1.01}",
    ),
    "Loop that captures values": Case(
        """g (float[2, 3] x) => (float[2, 3] y) <int64 n = {3}, bool go = {1}> {
            a = Tanh (x) b = Neg (a) c = Abs (b)
            d = Loop (n, go, c) <body = l (int64 i, bool on, float[2, 3] v) => (bool more, float[2, 3] w) {
                more = Identity (on) u = Mul (v, b) w = Add (u, a) }>
            e = Sigmoid (d) f = Add (e, a) y = Sin (f) }""",
        "u = Mul (v, b)",
        "u = Mul (v, a)",
    ),
    "Scan": Case(
        """g (float[4, 3] x) => (float[4, 3] y) <float[3] start = {0, 0, 0}> {
            a = Tanh (x) b = Neg (a) c = Abs (b)
            last, d = Scan (start, c) <num_scan_inputs = 1,
                body = s (float[3] v, float[3] w) => (float[3] v2, float[3] z) { v2 = Add (v, w) z = Identity (v2) }>
            e = Add (d, last) f = Sigmoid (e) y = Sin (f) }""",
        "v2 = Add (v, w)",
        "v2 = Sub (v, w)",
    ),
    "If within Loop": Case(
        """g (float[2, 3] x) => (float[2, 3] y) <int64 n = {2}, bool go = {1}, float zero = {0}> {
            a = Tanh (x) b = Neg (a) c = Abs (b)
            d = Loop (n, go, c) <body = l (int64 i, bool on, float[2, 3] v) => (bool more, float[2, 3] w) {
                more = Identity (on) s = ReduceSum <keepdims = 0> (v) k = Greater (s, zero)
                w = If (k) <
                    then_branch = t () => (float[2, 3] p) { p = Add (v, a) },
                    else_branch = e () => (float[2, 3] q) { q = Mul (v, b) }> }>
            f = Add (d, a) y = Sin (f) }""",
        "p = Add (v, a)",
        "p = Add (v, c)",
    ),
    "weights that many nodes share": Case(
        """g (float[2, 3] x) => (float[2, 3] y) <float[3] w = {1, 2, 0.5}> {
            a = Mul (x, w) b = Tanh (a) c = Mul (b, w) d = Sin (c) e = Mul (d, w) f = Cos (e) y = Mul (f, w) }""",
        "e = Mul (d, w)",
        "e = Add (d, w)",
    ),
    "outputs that are read again": Case(
        """g (float[2, 3] x) => (float[2, 3] y, float[2, 3] b, float[2, 3] e) {
            a = Exp (x) b = Neg (a) c = Abs (b) d = Sqrt (c) e = Add (d, b) f = Tanh (e) h = Mul (f, e)
            y = Sin (h) }""",
        "e = Add (d, b)",
        "e = Add (d, c)",
    ),
    "outputs that are inputs and constants": Case(
        """g (float[2, 3] x) => (float[2, 3] y, float[2, 3] x, float[3] k, float[3] w) <float[3] w = {1, 2, 0.5}> {
            k = Neg (w) a = Exp (x) b = Neg (a) c = Abs (b) d = Sqrt (c) e = Tanh (d)
            f = Mul (e, k) y = Sin (f) }""",
        "k = Neg (w)",
        "k = Exp (w)",
    ),
    "text": Case(
        """g (float[3] x) => (string[3] u, float[3] y) {
            a = Exp (x) t = Cast <to = 8> (a) s = StringConcat (t, t) b = Neg (a) c = Abs (b) r = StringConcat (s, t)
            d = Sqrt (c) q = StringConcat (t, r) e = Tanh (d) u = StringConcat (q, s) y = Sin (e) }""",
        "q = StringConcat (t, r)",
        "q = StringConcat (r, r)",
    ),
    "sequences": Case(
        """g (float[4, 3] x) => (float[2, 3] y) <int64 two = {2}, int64 one = {1}> {
            a = Exp (x) b = Neg (a) s = SplitToSequence <axis = 0> (b, two) c = SequenceAt (s, one)
            r = SequenceInsert (s, c) d = SequenceAt (r, one) e = Tanh (d) f = Abs (e) h = Sqrt (f) i = Cos (h)
            y = Sin (i) }""",
        "f = Abs (e)",
        "f = Exp (e)",
    ),
    "integers and booleans": Case(
        """g (float[2, 8] x) => (int64[2, 3] y, bool[2, 8] m) <int64 k = {3}, float zero = {0}> {
            a = Tanh (x) m = Greater (a, zero) b = Where (m, a, x) c = Exp (b) d = Neg (c) kk = Unsqueeze (k, axes)
            v, i = TopK (d, kk) j = Add (i, i) l = Add (j, i) y = Sub (l, j) }""",
        "l = Add (j, i)",
        "l = Add (j, j)",
    ),
    "functions": Case(
        """g (float[2, 3] x) => (float[2, 3] y) {
            a = Exp (x) b = own.f (a) c = Abs (b) d = Sqrt (c) e = own.f (d) h = Tanh (e) y = Sin (h) }
        <domain: "own", opset_import: ["": 21]> f (v) => (w) { u = Neg (v) w = Add (u, v) }""",
        "w = Add (u, v)",
        "w = Mul (u, v)",
    ),
    "nothing of an extent": Case(
        """g (float[0, 3] x, float[2, 3] z) => (float[2, 3] y, float[0, 3] n) {
            a = Exp (x) b = Neg (a) c = Concat <axis = 0> (b, z) d = Tanh (c) e = Sin (d) n = Abs (b) f = Cos (e)
            y = Add (f, z) }""",
        "f = Cos (e)",
        "f = Sin (e)",
    ),
    "half": Case(
        """g (float16[2, 3] x) => (float16[2, 3] y) {
            a = Tanh (x) b = Neg (a) c = Abs (b) d = Sqrt (c) e = Sigmoid (d) f = Add (e, a) h = Mul (f, b)
            y = Neg (h) }""",
        "h = Mul (f, b)",
        "h = Mul (f, a)",
    ),
    "bfloat16": Case(
        """g (bfloat16[2, 3] x) => (bfloat16[2, 3] y) {
            a = Tanh (x) b = Neg (a) c = Abs (b) d = Sqrt (c) e = Sigmoid (d) f = Add (e, a) h = Mul (f, b)
            y = Neg (h) }""",
        "h = Mul (f, b)",
        "h = Mul (f, a)",
        in_pieces=False,
    ),
    "bfloat16 inside": Case(
        """g (float[2, 3] x) => (float[2, 3] y) {
            w = Cast <to = 16> (x) a = Tanh (w) b = Neg (a) c = Abs (b) d = Sqrt (c) e = Sigmoid (d) f = Add (e, a)
            h = Mul (f, b) y = Cast <to = 1> (h) }""",
        "h = Mul (f, b)",
        "h = Mul (f, a)",
        in_pieces=False,
    ),
    "random numbers": Case(
        """g (float[2, 3] x) => (float[2, 3] y) {
            a = Exp (x) r = RandomUniformLike (a) b = Mul (a, r) c = Neg (b) d = Abs (c) s = RandomNormalLike (d)
            e = Sqrt (d) f = Mul (e, s) h = Tanh (f) y = Sin (h) }""",
        "f = Mul (e, s)",
        "f = Add (e, s)",
    ),
    "no inputs": Case(
        """g () => (float[2, 3] y) <float[2, 3] w = {1, 2, 3, 4, 5, 6}> {
            a = Exp (w) b = Neg (a) c = Abs (b) d = Sqrt (c) e = Tanh (d) f = Add (e, a) y = Sin (f) }""",
        "f = Add (e, a)",
        "f = Add (e, b)",
        in_pieces=False,
    ),
    "no inputs but random numbers": Case(
        """g () => (float[2, 3] y) {
            a = RandomNormal <shape = [2, 3]> () b = Neg (a) c = Abs (b) d = Sqrt (c) e = Tanh (d) f = Add (e, a)
            h = Cos (f) y = Sin (h) }""",
        "f = Add (e, a)",
        "f = Add (e, b)",
    ),
}


@pytest.fixture(autouse=True)
def tiny_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    # No last run: what is wrong has to show in its piece.
    monkeypatch.setattr(cuts, "LIMITS", Limits(0, 0, PieceSizes(2, 1 << 27), last_run=0))


def _is_in_pieces(report: onnxnorm.VerifyReport) -> bool:
    return any(note.startswith("compared in ") for note in report.notes)


def _with_axes(model: onnx.ModelProto) -> onnx.ModelProto:
    if any("axes" in node.input for node in model.graph.node):
        model.graph.initializer.append(numpy_helper.from_array(np.array([0]), "axes"))
    return model


@pytest.mark.parametrize("case", _CASES.values(), ids=list(_CASES))
def test_right_results_pass_and_mistakes_do_not(case: Case) -> None:
    model = _with_axes(case.model())
    report = verify(model, _with_axes(case.model()))
    assert report, report
    assert _is_in_pieces(report) == case.in_pieces, report.notes
    assert not verify(model, _with_axes(case.model(broken=True)))


def test_sparse_initializers_are_compared() -> None:
    def model(value: float) -> onnx.ModelProto:
        values = helper.make_tensor("w", TensorProto.FLOAT, [2], [value, 2.0])
        places = helper.make_tensor("w_places", TensorProto.INT64, [2], [1, 4])
        names = ["x", *"abcdef", "y"]
        ops = ["Exp", "Neg", "Abs", "Sqrt", "Tanh", "Sin"]
        nodes = [helper.make_node(op, [names[i]], [names[i + 1]]) for i, op in enumerate(ops)]
        nodes.append(helper.make_node("Mul", ["f", "w"], ["y"]))
        ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 3]) for name in "xy"]
        graph = helper.make_graph(nodes, "sparse", ends[:1], ends[1:])
        graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, [2, 3]))
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)

    assert verify(model(1.5), model(1.5))
    assert not verify(model(1.5), model(1.6))


def _two_branches(order: str) -> onnx.ModelProto:
    lines = {
        "a": "a = Exp (x) a1 = Neg (a) a2 = Mul (a1, w) a3 = Tanh (a2)",
        "b": "b = Sin (x) b1 = Cos (b) b2 = Mul (b1, w) b3 = Abs (b2)",
    }
    body = " ".join(lines[each] for each in order)
    return onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["": 17]> g (float[2, 3] x) => (float[2, 3] y) <float[3] w = {{1, 2, 0.5}}> {{
            {body} c = Add (a3, b3) d = Sqrt (b3) e = Mul (c, d) f = Tanh (e) h = Mul (f, w) y = Sin (h) }}"""
    )


def test_nodes_in_another_order_are_compared_piece_by_piece() -> None:
    report = verify(_two_branches("ab"), _two_branches("ba"))
    assert report and _is_in_pieces(report)
    other = _two_branches("ba")
    next(node for node in other.graph.node if node.output[0] == "b2").op_type = "Add"
    report = verify(_two_branches("ab"), other)
    assert not report and report.place is not None and report.place.result_value == "b2", report


def test_one_byte_of_one_weight_is_seen_where_all_else_looks_the_same() -> None:
    """The piece has the same nodes, names and shapes; the last bit of the exponent of one element differs."""
    model = _two_branches("ab")
    weights = np.random.default_rng(0).standard_normal((3, 3)).astype(np.float32)
    places = ("a2", "b2", "h")
    for place in places:
        node = next(node for node in model.graph.node if node.output[0] == place)
        node.op_type, node.input[1] = "MatMul", f"w_{place}"
        model.graph.initializer.append(numpy_helper.from_array(weights, f"w_{place}"))
    for place in places:
        other = onnx.ModelProto.FromString(model.SerializeToString())
        tensor = next(tensor for tensor in other.graph.initializer if tensor.name == f"w_{place}")
        data = bytearray(tensor.raw_data)
        data[4 * 4 + 2] ^= 0x80
        tensor.raw_data = bytes(data)
        report = verify(model, other)
        assert not report and report.place is not None and report.place.result_value == place, report
    assert verify(model, model)


def test_constants_and_attributes_that_differ_in_places_nobody_names_are_seen() -> None:
    text = """<ir_version: 8, opset_import: ["": 17]> g (float[2, 3] x) => (float[2, 3] y) {
        a = Exp (x) b = Neg (a) k = Constant <value = float[3] {1, 2, 3}> () c = Mul (b, k) d = Abs (c)
        e = LeakyRelu <alpha = 0.25> (b) f = Sub (d, e) h = Tanh (f) i = Cos (h) y = Sin (i) }"""
    model = onnx.parser.parse_model(text)
    assert verify(model, onnx.parser.parse_model(text))
    for right, wrong in (("{1, 2, 3}", "{1, 2, 3.01}"), ("alpha = 0.25", "alpha = 0.26")):
        assert not verify(model, onnx.parser.parse_model(text.replace(right, wrong)))
