"""Nodes as their operators are written at some opset: a form for each way in which a definition changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx

IMAGE = "float[2, 4, 6, 5] x"
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Form:
    """A node as it is written at an opset.

    Attributes:
        node: in the syntax of onnx.parser; its operands are those of `inputs` and `constants`.
        lowest: the lowest opset that has a form for it.
        highest: the highest one.
        declared: types of the results, where ONNX infers no shape.
        want: what it computes, where nothing that is at hand runs the original.
    """

    opset: int
    node: str
    lowest: int = 7
    highest: int = 99
    inputs: str = IMAGE
    constants: str = ""
    results: str = "y"
    declared: str = ""
    want: Callable[[Arrays], np.ndarray] | None = field(default=None, compare=False)

    @property
    def operator(self) -> str:
        return self.node.split()[0]

    @property
    def title(self) -> str:
        return f"{self.opset} {self.node}"

    def model(self) -> onnx.ModelProto:
        """Return the node as a model, its types inferred."""
        results = self.declared or ", ".join(f"float {name}" for name in self.results.split(", "))
        constants = f"<{self.constants}>" if self.constants else ""
        model = onnx.parser.parse_model(
            f"""<ir_version: {4 if self.opset < 9 else 10}, opset_import: ["": {self.opset}]>
            g ({self.inputs}) => ({results}) {constants} {{ [the_node] {self.results} = {self.node} }}"""
        )
        if not self.declared:
            for value in model.graph.output:
                value.ClearField("type")
        return onnx.shape_inference.infer_shapes(model, data_prop=True)


def _old_broadcasts() -> list[Form]:
    functions: dict[str, tuple[str, Any]] = {
        **{op: ("float", function) for op, function in (("Add", np.add), ("Sub", np.subtract), ("Mul", np.multiply))},
        **{
            op: ("float", function)
            for op, function in (("Div", np.divide), ("Pow", np.errstate(invalid="ignore")(np.power)))
        },
        **{op: ("float", function) for op, function in (("Greater", np.greater), ("Less", np.less))},
        **{op: ("bool", function) for op, function in (("And", np.logical_and), ("Or", np.logical_or))},
        "Xor": ("bool", np.logical_xor),
        "Equal": ("int32", np.equal),
    }
    return [
        Form(
            6,
            f"{op} <broadcast = 1, axis = 1> (x, c)",
            inputs=f"{kind}[2, 4, 6, 5] x, {kind}[4] c",
            want=lambda feeds, function=function: function(feeds["x"], feeds["c"][:, None, None]),
        )
        for op, (kind, function) in functions.items()
    ]


def _reductions() -> list[Form]:
    names = ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")
    return [
        form
        for op in (f"Reduce{name}" for name in names)
        for form in (
            Form(11, f"{op} <axes = [1, -1], keepdims = 0> (x)"),
            Form(11, f"{op} (x)"),
            Form(18, f"{op} (x, axes)", constants="int64[2] axes = {-2, 1}"),
            Form(18, f"{op} <noop_with_empty_axes = 1> (x, axes)", constants="int64[1] axes = {2}"),
            Form(18, f"{op} <noop_with_empty_axes = 1> (x)", lowest=13 if op == "ReduceSum" else 18),
            Form(
                18,
                f"{op} (x, axes)",
                inputs=f"{IMAGE}, int64[1] axes",
                lowest=13 if op == "ReduceSum" else 18,
                declared="float[A, B, C, D] y",
            ),
        )
    ]


def _pools() -> list[Form]:
    return [
        form
        for op in ("AveragePool", "LpPool", "MaxPool")
        for form in (
            Form(22, f"{op} <kernel_shape = [3, 2], strides = [2, 2], ceil_mode = 1> (x)",
                 lowest={"LpPool": 18}.get(op, 10)),
            Form(22, f"{op} <kernel_shape = [3, 2], ceil_mode = 0, dilations = [1, 1]> (x)"),
            Form(22, f"{op} <kernel_shape = [2, 2], dilations = [2, 1]> (x)",
                 lowest={"MaxPool": 10, "LpPool": 18}.get(op, 19)),
            Form(22, f"{op} <kernel_shape = [2, 2], strides = [3, 3], ceil_mode = 1> (x)", lowest=22),
            Form(22, f"{op} <kernel_shape = [3, 3], strides = [2, 2], ceil_mode = 1> (x)",
                 inputs="float[N, 4, H, W] x", lowest={"LpPool": 18}.get(op, 10)),
            Form(22, f"{op} <kernel_shape = [2, 2], strides = [3, 3], ceil_mode = 1> (x)",
                 inputs="float[N, 4, H, W] x", lowest=22),
            *(
                [Form(7, f"{op} <kernel_shape = [3, 3], pads = [1, 1, 1, 1], count_include_pad = 1> (x)")]
                if op == "AveragePool" else []
            ),
            Form(11, f"{op} <kernel_shape = [2, 3], auto_pad = \"SAME_UPPER\", strides = [2, 2]> (x)"),
        )
    ]  # fmt: skip


_VECTORS = "float[4] s, float[4] b, float[4] m, float[4] v"
_QUANTIZED = "uint8[2, 4, 6, 5] x"
_SCALE = "float s = {0.25}"
_GRU = "float[3, 2, 4] x, float[1, 9, 4] w, float[1, 9, 3] r"
_LSTM = "float[3, 2, 4] x, float[1, 12, 4] w, float[1, 12, 3] r"
_RNN = "float[3, 2, 4] x, float[1, 3, 4] w, float[1, 3, 3] r"
_ROIS = "float[1, 4, 6, 5] x, float[2, 4] rois"
_WHICH = "int64[2] which = {0, 0}"


def _resizes() -> list[Form]:
    half = "coordinate_transformation_mode"
    some = "float[2] scales = {2.0, 1.5}"
    every = "float[4] scales = {1.0, 1.0, 2.0, 1.5}"
    fewer = "float[4] scales = {1.0, 1.0, 0.3, 0.7}"
    first = f'{half} = "asymmetric"'
    return [
        Form(10, 'Resize <mode = "nearest"> (x, scales)', constants=every),
        Form(10, 'Resize <mode = "linear"> (x, scales)', constants=every),
        Form(10, 'Resize <mode = "linear"> (x, scales)', constants=fewer, lowest=10),
        Form(10, 'Resize <mode = "linear"> (x, scales)', inputs=f"{IMAGE}, float[4] scales", lowest=10),
        Form(11, f'Resize <mode = "nearest", {first}, nearest_mode = "floor"> (x, roi, scales)',
             constants=every + ", float[0] roi = {}"),
        Form(13, f'Resize <mode = "linear", {first}, cubic_coeff_a = -0.5> (x, , scales)', constants=every),
        Form(13, f'Resize <mode = "linear", {first}> (x, , scales)', constants=fewer, lowest=10),
        Form(13, f'Resize <mode = "linear", {first}> (x, , scales)', inputs=f"{IMAGE}, float[4] scales", lowest=10),
        Form(13, f'Resize <{first}> (x, , scales)', constants="float[4] scales = {1.0, 1.0, 2.0, 1.0}"),
        Form(13, f'Resize <{first}> (x, , scales)', constants=every, lowest=11),
        Form(13, f'Resize <{first}, nearest_mode = "floor"> (x, , , sizes)',
             constants="int64[4] sizes = {2, 4, 12, 15}"),
        Form(13, f'Resize <{first}, nearest_mode = "floor"> (x, , , sizes)',
             constants="int64[4] sizes = {2, 4, 13, 15}", lowest=11),
        Form(13, f'Resize <{first}, nearest_mode = "ceil"> (x, , scales)', constants=fewer, lowest=10),
        Form(13, f'Resize <{first}, nearest_mode = "floor"> (x, , scales)', constants=fewer, lowest=11),
        Form(13, f'Resize <{first}, nearest_mode = "floor"> (x, , scales)', lowest=10,
             constants="float[4] scales = {1.0, 1.0, 0.5, 1.0}"),
        Form(13, f'Resize <mode = "cubic", cubic_coeff_a = -0.5, exclude_outside = 1, {half} = "half_pixel"> '
             "(x, , scales)", constants=every, lowest=11),
        Form(13, 'Resize <mode = "nearest", nearest_mode = "ceil"> (x, , , sizes)',
             constants="int64[4] sizes = {2, 4, 9, 10}", lowest=11),
        Form(13, f'Resize <{half} = "tf_crop_and_resize", extrapolation_value = 2.0, mode = "linear"> '
             "(x, roi, scales)", constants=every + ", float[8] roi = {0, 0, 0.1, 0.2, 1, 1, 0.9, 0.8}", lowest=11),
        Form(18, 'Resize <axes = [2, -1], mode = "linear"> (x, , scales)', constants=some, lowest=11),
        Form(18, 'Resize <axes = [3, 2], mode = "linear"> (x, , , sizes)', constants="int64[2] sizes = {7, 9}",
             lowest=11),
        Form(18, 'Resize <axes = [2, 3], keep_aspect_ratio_policy = "not_larger"> (x, , , sizes)',
             constants="int64[2] sizes = {7, 9}", lowest=18),
        Form(18, 'Resize <antialias = 1, mode = "linear"> (x, , scales)', lowest=18,
             constants="float[4] scales = {1.0, 1.0, 0.5, 0.5}"),
        Form(18, 'Resize <antialias = 0, keep_aspect_ratio_policy = "stretch"> (x, , scales)', constants=every,
             lowest=11),
        Form(7, 'Upsample <mode = "linear", scales = [1.0, 1.0, 2.0, 3.0]> (x)'),
        Form(9, 'Upsample <mode = "nearest"> (x, scales)', constants=every),
        Form(9, 'Upsample <mode = "nearest"> (x, scales)', inputs=f"{IMAGE}, float[4] scales", lowest=9),
    ]  # fmt: skip


def _quantizations() -> list[Form]:
    blocks = "float[2, 2, 6, 5] s"
    return [
        Form(10, "QuantizeLinear (x, s)", lowest=10, constants=_SCALE),
        Form(13, "QuantizeLinear <axis = -3> (x, s)", lowest=13, constants="float[4] s = {0.25, 0.5, 1, 2}"),
        Form(19, "QuantizeLinear <saturate = 1> (x, s)", lowest=10, constants=_SCALE),
        Form(21, "QuantizeLinear <block_size = 2> (x, s)", lowest=21, inputs=f"{IMAGE}, {blocks}"),
        Form(21, "QuantizeLinear <output_dtype = 3, block_size = 0> (x, s)", lowest=10, constants=_SCALE),
        Form(23, "QuantizeLinear <precision = 1> (x, s)", lowest=10, constants=_SCALE),
        Form(23, "QuantizeLinear <precision = 11> (x, s)", lowest=23, constants=_SCALE),
        Form(10, "DequantizeLinear (x, s)", lowest=10, inputs=_QUANTIZED, constants=_SCALE),
        Form(13, "DequantizeLinear <axis = 1> (x, s)", lowest=13, inputs=f"{_QUANTIZED}, float[4] s"),
        Form(21, "DequantizeLinear <block_size = 2> (x, s)", lowest=21, inputs=f"{_QUANTIZED}, {blocks}"),
        Form(23, "DequantizeLinear <output_dtype = 1> (x, s)", lowest=10, inputs=_QUANTIZED, constants=_SCALE),
        Form(23, "DequantizeLinear <output_dtype = 10> (x, s)", lowest=23, inputs=_QUANTIZED, constants=_SCALE),
    ]


def _normalizations() -> list[Form]:
    def normalized(feeds: Arrays) -> np.ndarray:
        s, b, m, v = (feeds[name].astype(np.float64)[:, None, None] for name in "sbmv")
        return np.asarray((feeds["x"] - m) / np.sqrt(v + 1e-5) * s + b)

    def of_the_batch(feeds: Arrays) -> np.ndarray:
        s, b = (feeds[name].astype(np.float64)[:, None, None] for name in "sb")
        mean, variance = (f(feeds["x"].astype(np.float64), axis=(0, 2, 3), keepdims=True) for f in (np.mean, np.var))
        return np.asarray((feeds["x"] - mean) / np.sqrt(variance + 1e-5) * s + b)

    operands = "(x, s, b, m, v)"
    whole = "float[1, 2, 2] s = {1, 2, 3, 4}, float[1, 2, 2] b = {4, 3, 2, 1}, " \
        "float[1, 2, 2] m = {1, 0, 1, 0}, float[1, 2, 2] v = {1, 2, 1, 2}"  # fmt: skip
    return [
        Form(6, f"BatchNormalization <is_test = 1> {operands}", inputs=f"{IMAGE}, {_VECTORS}", want=normalized),
        Form(6, f"BatchNormalization <is_test = 0> {operands}", inputs=f"{IMAGE}, {_VECTORS}", want=of_the_batch),
        Form(8, f"BatchNormalization <spatial = 1> {operands}", inputs=f"{IMAGE}, {_VECTORS}"),
        Form(8, f"BatchNormalization <spatial = 0> {operands}", inputs="float[2, 1, 2, 2] x", constants=whole,
             want=lambda feeds: (feeds["x"] - [[1, 0], [1, 0]]) / np.sqrt(np.add([[1, 2], [1, 2]], 1e-5))
             * [[1, 2], [3, 4]] + [[4, 3], [2, 1]]),
        Form(15, f"BatchNormalization <training_mode = 0> {operands}", inputs=f"{IMAGE}, {_VECTORS}"),
        Form(15, f"BatchNormalization <training_mode = 1> {operands}", 14, inputs=f"{IMAGE}, {_VECTORS}",
             results="y, m1, v1"),
        Form(15, f"BatchNormalization {operands}", 15, inputs=f"float16[2, 4, 6, 5] x, {_VECTORS}"),
        Form(6, "Dropout <is_test = 1, ratio = 0.25> (x)", want=lambda feeds: feeds["x"]),
        Form(6, "Dropout <is_test = 0> (x)", 99),
        Form(10, "Dropout <ratio = 0.25> (x)"),
        Form(13, "Dropout <seed = 3> (x, ratio)", constants="float ratio = {0.5}"),
        Form(13, "Dropout (x, ratio, training)", 12, constants="float ratio = {0.0}, bool training = {1}"),
        Form(18, "GroupNormalization <num_groups = 2, epsilon = 0.5> (x, s, b)", 9,
             inputs=f"{IMAGE}, float[2] s, float[2] b", want=_grouped, declared="float[2, 4, 6, 5] y"),
        Form(21, "GroupNormalization <num_groups = 2, epsilon = 0.5, stash_type = 1> (x, s, b)",
             inputs=f"{IMAGE}, float[4] s, float[4] b", want=_grouped, declared="float[2, 4, 6, 5] y"),
    ]  # fmt: skip


def _grouped(feeds: Arrays) -> np.ndarray:
    x = feeds["x"].astype(np.float64).reshape(2, 2, -1)
    z = ((x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 0.5)).reshape(2, 4, 6, 5)
    s, b = (np.repeat(feeds[name], 4 // feeds[name].size)[:, None, None] for name in "sb")
    return np.asarray(z * s + b)


FORMS = [
    *_old_broadcasts(),
    *_reductions(),
    *_pools(),
    *_resizes(),
    *_quantizations(),
    *_normalizations(),
    *(Form(12, f"{op} <select_last_index = 0, axis = -2> (x)") for op in ("ArgMax", "ArgMin")),
    *(Form(12, f"{op} <select_last_index = 1> (x)", 12) for op in ("ArgMax", "ArgMin")),
    Form(25, "Attention <left_window_size = -1, right_window_size = -1> (x, x, x)", 11),
    Form(25, "Attention <left_window_size = 1, right_window_size = 0> (x, x, x)", 11),
    Form(24, "Attention (x, x, x, , , , n)", 11, constants="int64[2] n = {3, 5}"),
    Form(5, 'Cast <to = "INT32"> (x)', declared="int32[2, 4, 6, 5] y", want=lambda feeds: feeds["x"].astype(np.int32)),
    Form(24, 'Cast <to = 1, saturate = 1, round_mode = "up"> (x)', inputs="int32[3, 4] x"),
    Form(24, 'CastLike <saturate = 1, round_mode = "up"> (x, c)', inputs="int32[3, 4] x", constants="float c = {0}"),
    Form(19, "Cast <to = 17, saturate = 0> (x)", 19),
    Form(24, 'Cast <to = 24, round_mode = "down"> (x)', 24),
    Form(6, "Clip <min = -0.5, max = 0.5> (x)"),
    Form(6, "Clip (x)"),
    Form(13, "Clip (x, low, high)", constants="float low = {-0.5}, float high = {0.25}"),
    Form(13, "Clip (x, , high)", constants="float high = {0.25}"),
    Form(13, "Clip (x, low)", 11, inputs=f"{IMAGE}, float low"),
    Form(13, "Clip (x, low)", 11, inputs="double[4] x", constants="double low = {0.1}"),
    *(
        Form(13, f"Constant <{value}> ()", lowest, inputs="float[1] x")
        for value, lowest in (
            ("value_float = 0.5", 7), ("value_floats = [0.5, 2.0]", 7), ("value_int = 3", 9),
            ("value_ints = [3, 4]", 9), ('value_string = "a"', 9), ('value_strings = ["a", "bc"]', 9),
        )
    ),
    Form(13, "Constant <value = float[2] {1, 2}> ()", inputs="float[1] x"),
    Form(17, "DFT <axis = -2> (x)", 17, inputs="float[2, 4, 1] x"),
    Form(17, "DFT (x)", 17, inputs="float[2, 4, 3, 2] x"),
    Form(20, "DFT (x, , axis)", 17, inputs="float[2, 4, 3, 2] x", constants="int64 axis = {1}"),
    Form(20, "DFT (x)", 17, inputs="float[2, 4, 3, 2] x"),
    Form(11, 'DepthToSpace <blocksize = 2, mode = "DCR"> (x)'),
    Form(11, 'DepthToSpace <blocksize = 2, mode = "CRD"> (x)', 11),
    Form(14, "GRU <hidden_size = 3, layout = 0> (x, w, r)", inputs=_GRU, results="y, z"),
    Form(14, "LSTM <hidden_size = 3, layout = 0> (x, w, r)", inputs=_LSTM, results="y, z"),
    Form(14, "RNN <hidden_size = 3, layout = 0> (x, w, r)", inputs=_RNN, results="y, z"),
    Form(14, "RNN <hidden_size = 3, layout = 1> (x, w, r)", 14, inputs=_RNN, results="y, z"),
    Form(12, "GatherND <batch_dims = 0> (x, i)", 11, constants="int64[1, 2] i = {1, 2}"),
    Form(12, "GatherND <batch_dims = 1> (x, i)", 12, constants="int64[2, 1] i = {1, 2}"),
    Form(6, "Gemm <broadcast = 1> (x, w, c)", inputs="float[2, 3] x, float[3, 4] w, float[4] c",
         want=lambda feeds: feeds["x"] @ feeds["w"] + feeds["c"]),
    *(
        Form(6, "PRelu (x, s)", inputs=f"{IMAGE}, float[{count}] s",
             want=lambda feeds: np.where(feeds["x"] < 0, feeds["x"] * feeds["s"][:, None, None], feeds["x"]))
        for count in (1, 4)
    ),
    Form(2, "Reshape <shape = [8, -1]> (x)", declared="float[8, 30] y", want=lambda feeds: feeds["x"].reshape(8, -1)),
    Form(13, "Gemm (x, w)", inputs="float[2, 3] x, float[3, 4] w"),
    *(
        Form(16, f'GridSample <mode = "{mode}"> (x, g)', 16, inputs=f"{IMAGE}, float[2, 3, 3, 2] g")
        for mode in ("bilinear", "bicubic", "nearest")
    ),
    Form(16, "GridSample (x, g)", 16, inputs=f"{IMAGE}, float[2, 3, 3, 2] g"),
    Form(20, "GridSample (x, g)", 16, inputs=f"{IMAGE}, float[2, 3, 3, 2] g"),
    Form(20, 'GridSample <mode = "cubic"> (x, g)', 16, inputs=f"{IMAGE}, float[2, 3, 3, 2] g"),
    *(
        form
        for op in ("Hardmax", "LogSoftmax", "Softmax")
        for form in (
            Form(11, f"{op} (x)", highest=99),
            Form(11, f"{op} <axis = -1> (x)"),
            Form(11, f"{op} <axis = 2> (x)"),
            Form(13, f"{op} (x)"),
            Form(13, f"{op} <axis = 1> (x)"),
            Form(13, f"{op} <axis = -3> (x)", inputs="float[2, 4, 1, 1] x"),
        )
    ),
    Form(20, "AffineGrid <align_corners = 1> (t, size)", 20, inputs="float[2, 2, 3] t",
         constants="int64[4] size = {2, 3, 4, 5}"),
    Form(8, "MaxPool <kernel_shape = [2, 2], storage_order = 0> (x)", results="y, z", lowest=8),
    Form(8, "Max (x, c)", 8, inputs=f"{IMAGE}, float[5] c"),
    Form(8, "Max (x, c)", inputs="float[2, 5] x, float[2, 5] c"),
    Form(15, "OptionalHasElement (x)", 15, inputs="optional(float[2]) x"),
    Form(18, "OptionalHasElement ()", 18, inputs="float[1] x"),
    Form(2, "Pad <pads = [0, 0, 1, 1, 0, 0, 2, 1], value = 0.5> (x)"),
    Form(13, "Pad (x, pads, value)", constants="int64[8] pads = {0, 0, 1, 1, 0, 0, 2, 1}, float value = {0.5}"),
    Form(18, "Pad (x, pads, value, axes)",
         constants="int64[4] pads = {1, 2, 0, 1}, float value = {0.5}, int64[2] axes = {-1, 2}"),
    Form(18, 'Pad <mode = "edge"> (x, pads, , axes)', constants="int64[2] pads = {1, 2}, int64[1] axes = {-1}"),
    Form(18, "Pad (x, pads, , axes)", 18, inputs=f"{IMAGE}, int64[1] axes", constants="int64[2] pads = {1, 2}",
         declared="float[A, B, C, D] y"),
    Form(13, "Pow (x, e)", constants="int64 e = {2}"),
    Form(13, "Pow (x, e)", 12, inputs=f"{IMAGE}, int64[5] e"),
    Form(27, "Range <stash_type = 1> (start, limit, delta)", inputs="float start, float limit, float delta",
         declared="float[N] y"),
    Form(14, "Reshape <allowzero = 0> (x, s)", constants="int64[2] s = {0, -1}"),
    Form(14, "Reshape <allowzero = 1> (x, s)", constants="int64[2] s = {8, -1}"),
    Form(14, "Reshape <allowzero = 1> (x, shape)", inputs=f"{IMAGE}, int64[2] shape", declared="float[8, 30] y"),
    Form(14, "Reshape <allowzero = 1> (x, s)", 14, inputs="float[0, 4] x", constants="int64[2] s = {3, 0}"),
    Form(10, "RoiAlign <output_height = 2, output_width = 2> (x, rois, which)", 10, inputs=_ROIS, constants=_WHICH),
    Form(16, "RoiAlign <output_height = 2, output_width = 2> (x, rois, which)", 16, inputs=_ROIS, constants=_WHICH),
    Form(16, 'RoiAlign <output_height = 2, coordinate_transformation_mode = "output_half_pixel"> (x, rois, which)', 10,
         inputs=_ROIS, constants=_WHICH),
    Form(9, "Scatter <axis = 1> (x, i, u)", 9, inputs="float[2, 4] x, float[2, 1] u",
         constants="int64[2, 1] i = {1, 3}"),
    *(
        Form(16, f'{op} <reduction = "{word}"> (x, i, u)', lowest, inputs="float[2, 4] x, float[1, 4] u",
             constants="int64[1, 4] i = {0, 1, 1, 0}")
        for op in ("ScatterElements",)
        for word, lowest in (("none", 11), ("add", 16), ("mul", 16))
    ),
    *(
        Form(16, f'ScatterND <reduction = "{word}"> (x, i, u)', lowest, inputs="float[2, 4] x, float[1, 4] u",
             constants="int64[1, 1] i = {1}")
        for word, lowest in (("none", 11), ("add", 16))
    ),
    Form(15, "Shape <start = 1> (x)"),
    Form(15, "Shape <start = -3, end = -1> (x)"),
    Form(15, "Shape <start = 0, end = 9> (x)"),
    Form(15, "Shape <start = 3, end = 1> (x)"),
    Form(15, "Shape <end = 2> (x)", inputs="float[N, C, H] x"),
    Form(9, "Slice <axes = [1, 2], starts = [1, 0], ends = [3, -1]> (x)"),
    Form(9, "Slice <starts = [0, 1], ends = [1, 9000]> (x)"),
    Form(13, "Slice (x, s, e, a)", constants="int64[2] s = {1, -3}, int64[2] e = {3, -1}, int64[2] a = {-3, 2}"),
    Form(13, "Slice (x, s, e, a, t)",
         constants="int64[1] s = {0}, int64[1] e = {3}, int64[1] a = {2}, int64[1] t = {1}"),
    Form(13, "Slice (x, s, e, a, t)", 10,
         constants="int64[1] s = {0}, int64[1] e = {3}, int64[1] a = {2}, int64[1] t = {2}"),
    Form(28, 'SpaceToDepth <blocksize = 2, mode = "DCR"> (x)', inputs="float[1, 1, 4, 4] x"),
    Form(28, 'SpaceToDepth <blocksize = 2, mode = "CRD"> (x)', 10, inputs="float[1, 2, 4, 4] x"),
    Form(11, "Split <axis = -2, split = [2, 4]> (x)", results="y, z"),
    Form(11, "Split <axis = 1> (x)", results="y, z"),
    Form(13, "Split <axis = -2> (x, s)", results="y, z", constants="int64[2] s = {2, 4}"),
    Form(18, "Split <axis = 3, num_outputs = 2> (x)", results="y, z"),
    *(
        Form(18, f"Split <axis = {axis}, num_outputs = 2> (x)", 13, inputs="float[2, 4, 6, W] x", results="y, z")
        for axis in (-1, 3)
    ),
    Form(18, "Split <axis = 0, num_outputs = 1> (x)", 13, inputs="float[N, 4] x"),
    Form(18, "Split <axis = -1, num_outputs = 3> (x)", 13, inputs="float[2, N] x", results="y, z, w"),
    Form(11, "Squeeze <axes = [1]> (x)", inputs="float[2, 1, 5] x"),
    Form(13, "Squeeze (x, a)", inputs="float[2, 1, 5] x", constants="int64[1] a = {-2}"),
    Form(13, "Squeeze (x)", inputs="float[2, 1, 5] x"),
    Form(10, "ThresholdedRelu <alpha = 0.4> (x)", 9),
    Form(22, "ThresholdedRelu (x)", 9),
    Form(9, "TopK <k = 2, axis = 1> (x)", results="y, z"),
    Form(11, "TopK <axis = -2, largest = 1, sorted = 1> (x, k)", results="y, z", constants="int64[1] k = {2}"),
    Form(11, "TopK <largest = 0, sorted = 1> (x, k)", 11, results="y, z", constants="int64[1] k = {2}"),
    Form(11, "TopK (x, k)", 10, results="y, z", inputs=f"{IMAGE}, int64[1] k"),
    Form(11, "Unsqueeze <axes = [0, 3]> (x)"),
    Form(13, "Unsqueeze (x, a)", constants="int64[2] a = {-1, 0}"),
    Form(11, "OneHot <axis = -2> (i, d, v)", 9, inputs="int64[3, 4] i",
         constants="int64 d = {5}, float[2] v = {0.5, 2.0}"),
    Form(11, "Compress <axis = -2> (x, c)", 9, constants="bool[6] c = {1, 0, 1, 0, 0, 1}"),
    Form(11, "Concat <axis = -1> (x, x)"),
    Form(11, "Flatten <axis = -2> (x)"),
]  # fmt: skip
