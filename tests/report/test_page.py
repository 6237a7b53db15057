"""Tests of the report page: what it tells is true, it loads nothing, and names in it are data."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from importlib import resources
from pathlib import Path

import numpy as np
import onnx
import pytest

import onnxnorm
from onnxnorm.report import ReportPage, compared_page, report_page
from onnxnorm.report.texts import shown
from testing.builder import Builder
from testing.residual_blocks import residual_blocks
from tests.cli.samples import conv_bn_lrn
from tests.report.networks import HOSTILE


def data_in(page: str) -> dict:
    """Return the data that a page holds, as a browser would read it."""
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    return json.loads(text)


def norm_named(data: dict, name: str) -> dict:
    (found,) = [norm for norm in data["norms"] if norm["where"] == name]
    return found


def constants_of(model: onnx.ModelProto, node: str) -> list[np.ndarray]:
    arrays = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    (found,) = [each for each in model.graph.node if each.name == node]
    return [arrays[name].astype(np.float64) for name in found.input if name in arrays]


def test_numbers_are_those_of_the_models(tmp_path: Path) -> None:
    model = conv_bn_lrn()
    result = onnxnorm.optimize(model)
    page = result.report_page(tmp_path / "page.html")
    data = data_in((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert data == json.loads(json.dumps(page.data))
    bn, lrn = norm_named(data, "bn"), norm_named(data, "lrn")
    assert [data["fates"][norm["fate"]] for norm in (bn, lrn)] == ["absorbed", "written out"]
    gamma, beta, mean, variance = constants_of(model, "bn")
    scale = gamma / np.sqrt(variance + 1e-5)
    columns = bn["algebra"]["columns"]
    np.testing.assert_allclose(columns["scale"], scale, rtol=1e-5)
    np.testing.assert_allclose(columns["shift"], beta - mean * scale, rtol=1e-5)
    before = constants_of(model, "conv")[0].reshape(4, -1)[:, 0]
    np.testing.assert_allclose(columns["weight before"], before, rtol=1e-5)
    np.testing.assert_allclose(columns["weight after"], before * scale, rtol=1e-5)
    np.testing.assert_allclose(columns["bias after"], beta - mean * scale, rtol=1e-5)
    assert data["verification"]["passed"]


def test_the_path_leads_to_the_node_that_took_it() -> None:
    b = Builder(dtype=np.float32)
    x = b.node("MaxPool", b.batch_norm(b.node("Relu", b.input((1, 3, 6, 6))), 3, "positive", shift=False),
               kernel_shape=[2, 2])  # fmt: skip
    model = b.model(b.conv(x, 3, 4, (1, 1)))
    data = onnxnorm.fold(model).report_page().data
    (norm,) = data["norms"]
    operators = [data["texts"][data["nodes"][place][1]] for place in norm["path"]]
    assert operators == ["BatchNormalization", "MaxPool", "Conv"]
    assert norm["takers"] == [norm["path"][-1]]
    assert norm["algebra"]["taker"][1:] == ["Conv", False]


def test_a_blocker_and_a_remedy_are_told() -> None:
    b = Builder(dtype=np.float32)
    x = b.conv(b.input((1, 3, 6, 6)), 3, 3, (1, 1))
    model = b.model(b.node("Sigmoid", b.batch_norm(x, 3)), x)
    result = onnxnorm.optimize(model)
    (norm,) = result.report_page().data["norms"]
    (record,) = result.normalizations
    assert record.code is not None and norm["code"] == record.code.value
    assert record.remedy is not None and record.remedy.text in norm["remedy"]
    assert norm["readers"] == list(record.readers)
    names = [entry[0] for entry in result.report_page().data["nodes"]]
    assert norm["blocker"] == (names.index(record.blocker) if record.blocker in names else None)


def test_size_of_a_page(large: ReportPage) -> None:
    assert len(large.html.encode()) < 2_000_000
    assert len(large.data["nodes"]) == len(large.data["layers"]) == 2000 and large.data["blocks"]
    small = onnxnorm.fold(residual_blocks(20), verify=False).report_page()
    assert len(small.html.encode()) < 400_000
    assert len(small.data["nodes"]) == 100 and not small.data["blocks"]


def test_blocks_cover_the_picture_and_are_few(large: ReportPage) -> None:
    def check(blocks: list, start: int, end: int) -> None:
        assert len(blocks) <= 60
        assert [block[0] for block in blocks] == [start, *(block[1] for block in blocks[:-1])]
        assert blocks[-1][1] == end
        for first, last, parts in blocks:
            if parts:
                check(parts, first, last)

    check(large.data["blocks"], 0, 2000)


def test_data_flows_down_the_order_of_the_picture() -> None:
    edges = onnxnorm.fold(residual_blocks(30), verify=False).report_page().data["edges"]
    assert edges and all(start < end for start, end in zip(edges[::3], edges[1::3], strict=True))


def test_hostile_names_are_data(hostile_page: ReportPage) -> None:
    page = hostile_page.html
    scripts = re.findall(r"<script[^>]*>", page)
    assert scripts == ['<script type="application/json" id="data">', "<script>"]
    assert len(page) < 1_000_000
    assert "\0" not in page and "\u202e" not in page and "\u2028" not in page
    names = [entry[0] for entry in data_in(page)["nodes"]]
    assert {shown(name, 120) for name in HOSTILE} <= set(names)
    assert not re.findall(r"<(img|b|!--<script)", page.split('id="data">')[1].split("</script>")[0])


def test_the_policy_allows_the_own_script_and_style_alone(hostile_page: ReportPage) -> None:
    page = hostile_page.html
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    for rule, tag in (("script-src", "script"), ("style-src", "style")):
        (text,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"
    # Meta elements with a policy count for what follows them.
    assert page.index("Content-Security-Policy") < page.index("<style>")


def test_the_page_refers_to_nothing(hostile_page: ReportPage) -> None:
    assets = resources.files("onnxnorm.report") / "assets"
    markup = re.sub(r"<(script|style)[^>]*>.*?</\1>", "", hostile_page.html, flags=re.DOTALL)
    assert re.findall(r"""\b(?:src|href|action)\s*=\s*["']([^"']*)""", markup) == ["#normalizations"]
    own = [
        each.read_text(encoding="utf-8") for each in assets.iterdir() if re.search(r"(?<!min)\.(js|css)$", each.name)
    ]
    assert len(own) == 8
    assert not [text for text in own if re.search(r"url\(|@import|https?://(?!www\.w3\.org/2000/svg)", text)]
    # What would turn text into markup or code is not used at all.
    assert not [
        text for text in own if re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text)
    ]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", ""),
        (None, ""),
        ("Conv_3", "Conv_3"),
        ("层", "层"),
        ("a\0b", "a\\x00b"),
        ("\u202ex", "\\u202ex"),
        ("ab" * 9, "abab… (18 characters)"),
    ],
)
def test_shown_names(text: str | None, wanted: str) -> None:
    assert shown(text, 4 if text and len(text) > 9 else 160) == wanted


def test_two_models_are_compared() -> None:
    before = conv_bn_lrn()
    after = onnxnorm.fold(before).model
    data = compared_page(before, after).data
    assert [(norm["where"], data["fates"][norm["fate"]], norm["reason"]) for norm in data["norms"]] == [
        ("bn", "absorbed", "is not in the second model"),
        ("lrn", "left", "is in the second model too"),
    ]


def test_an_original_that_has_changed_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(conv_bn_lrn(), path)
    result = onnxnorm.optimize(path)
    assert result.report_page().data["before"] == "model.onnx"
    result.save(path)
    with pytest.raises(onnxnorm.OnnxNormError, match="changed since"):
        result.report_page()
    assert result.report_page(original=conv_bn_lrn()).data["norms"]


def test_nothing_of_the_models_changes() -> None:
    model = conv_bn_lrn()
    before = model.SerializeToString()
    result = onnxnorm.optimize(model)
    after = result.model.SerializeToString()
    page = report_page(model, result)
    assert model.SerializeToString() == before and result.model.SerializeToString() == after
    frame = page._repr_html_()
    assert frame.startswith('<iframe sandbox="allow-scripts"') and "<script>" not in frame


def test_node_data_names_nodes_and_fates() -> None:
    model = conv_bn_lrn()
    overlay = onnxnorm.optimize(model).report_page().node_data
    assert overlay == {
        model.graph.name: {
            "results": {
                "bn": {"value": "absorbed", "bgColor": "#009e73", "textColor": "#000"},
                "lrn": {"value": "written out", "bgColor": "#56b4e9", "textColor": "#000"},
            }
        }
    }


def test_node_data_has_whole_names_and_sums_up_subgraphs() -> None:
    """A viewer looks names up as the file has them; nodes of the result alone are none of its nodes."""
    long = "layers/" * 40 + "bn"
    b = Builder(dtype=np.float32)
    x = b.input((1, 3, 6, 6))
    model = b.model(b.batch_norm(b.conv(x, 3, 4, (1, 1)), 4, name=long))
    inner = onnx.helper.make_graph(
        [onnx.helper.make_node("LRN", [x], [f"r{place}"], name=f"lrn{place}", size=3) for place in range(2)]
        + [onnx.helper.make_node("Add", ["r0", "r1"], ["r"], name="sum")],
        "body", [], [onnx.helper.make_tensor_value_info("r", onnx.TensorProto.FLOAT, None)],
    )  # fmt: skip
    branches = {"then_branch": inner, "else_branch": inner}
    condition = onnx.helper.make_tensor_value_info("condition", onnx.TensorProto.BOOL, [])
    model.graph.input.append(condition)
    model.graph.node.append(onnx.helper.make_node("If", ["condition"], ["z"], name="layers/if", **branches))
    model.graph.output.append(onnx.helper.make_tensor_value_info("z", onnx.TensorProto.FLOAT, None))
    (overlay,) = onnxnorm.fold(model, verify=False).report_page().node_data.values()
    told = {name: entry["value"] for name, entry in overlay["results"].items()}
    assert told == {long: "absorbed", "layers/if": "4 left"}


def test_functions_count_as_what_they_do_and_their_norms_stand_at_the_call() -> None:
    model = onnx.parser.parse_model("""<ir_version: 8, opset_import: ["": 17, "own": 1]>
    called (float[1, 2, 4, 4] x) => (float[1, 2, 4, 4] y)
    <float[2, 2, 1, 1] w = {1, 2, 3, 4}> { first = Relu (x) y = own.Block (first, w) }
    <opset_import: ["": 17], domain: "own">
    Block (x, w) => (y)
    { c = Conv (x, w) g = Constant <value_floats: floats = [1.0, 2.0]> ()
      n = BatchNormalization (c, g, g, g, g) y = Relu (n) }""")
    model.graph.node[1].name, model.functions[0].node[2].name = "call", "inside"
    page = onnxnorm.fold(model).report_page()
    (norm,) = page.data["norms"]
    assert page.data["nodes"][norm["node"]][0] == "call" and "inside" in norm["where"]
    assert [cost["nodes"] for cost in page.data["costs"]] == [5, 3]
    # Two channels to two, at 16 places.
    assert [cost["multiply_adds"] for cost in page.data["costs"]] == [64, 64]
    assert ("BatchNormalization", 1, 0) in [tuple(row) for row in page.data["operators"]]


def test_the_summary_tells_a_reason_once() -> None:
    b = Builder(dtype=np.float32)
    value = b.input((1, 3, 6, 6))
    for place in range(5):
        value = b.node("LRN", value, size=3, name=f"lrn{place}")
    summary = onnxnorm.fold(b.model(value)).report_page().summary
    (line,) = [line for line in summary.splitlines() if line.startswith("  ")]
    assert line.startswith("  lrn0, lrn1, lrn2 and 2 more (5 of LRN (inter-channel)): ")


def test_layer_errors_and_latency_are_shown_where_they_are_given() -> None:
    from onnxnorm.verification.layers import errors_by_layer

    model = conv_bn_lrn()
    result = onnxnorm.optimize(model)
    layers = errors_by_layer(model, result)
    page = report_page(model, result, layers=layers, latency=(2.0, 1.0))
    assert [row[0] for row in page.data["layers"]] == [layer.value for layer in layers] and layers
    assert result.report_page(layers=True).data["layers"] == page.data["layers"]
    assert result.report_page().data["layers"] == []
    assert page.data["latency"] == {"median": [2.0, 1.0]}
    assert "latency: 2.0 ms -> 1.0 ms" in page.summary


def test_ranges_are_those_of_the_weights_and_int8_is_judged() -> None:
    """A fold puts the scales of a norm into a weight, whose channels then differ as the scales do."""
    scales = np.array([1.0, 1.0, 1.0, 1e-3])
    b = Builder(dtype=np.float32)
    weight = np.random.default_rng(0).uniform(0.5, 1, (4, 3, 1, 1))
    x = b.node("Conv", b.input((1, 3, 6, 6)), b.constant(weight))
    one, zero = b.constant(np.ones(4)), b.constant(np.zeros(4))
    model = b.model(b.node("BatchNormalization", x, b.constant(scales), zero, zero, one, epsilon=0.0))
    page = onnxnorm.fold(model).report_page()
    (entry,) = page.data["ranges"]["weights"]
    tops = np.abs(weight).max(axis=(1, 2, 3))
    np.testing.assert_allclose(
        entry["ratio"], [tops.max() / tops.min(), (tops * scales).max() / (tops * scales).min()], rtol=1e-5
    )
    np.testing.assert_allclose(entry["bars"], [tops, tops * scales], rtol=1e-2)
    # One scale for the tensor leaves the last channel less than one step of 127.
    assert entry["poor"] == [0, 1] and entry["loses"] == [0, 1] and entry["channels"] == [4, 4]
    assert page.data["ranges"]["count"] == [1, 1] and page.data["ranges"]["poor"] == [0, 1]
    assert "int8 with one scale a tensor: 0 of 1 -> 1 of 1" in page.summary


def test_a_result_is_not_changed_by_its_page() -> None:
    model = residual_blocks(3)
    for result in (onnxnorm.fold(model), onnxnorm.optimize(model, passes=["fold_affines", "clean"])):
        before = onnx.ModelProto.FromString(result.model.SerializeToString())
        result.report_page()
        assert result.model == before
