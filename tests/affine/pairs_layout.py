"""Pairs for operators that arrange, join, cut and look up."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from testing.builder import Builder
from tests.affine.pairs import MIXED, POSITIVE, SHIFT, folds, linear, stays


@folds("Transpose")
def transpose_folds(b: Builder) -> str:
    x = b.node("Transpose", b.affine(b.input((2, 4)), MIXED, SHIFT))
    y = b.node("MatMul", b.constant(b.normal(3, 4)), x)
    return b.node(
        "Sigmoid", b.node("Gemm", b.node("Transpose", y), b.constant(b.normal(3, 2)), b.constant(b.normal(2)))
    )


@stays("Transpose")
def transpose_stays(b: Builder) -> str:
    return b.node("Sigmoid", b.node("Transpose", b.affine(b.input((2, 4, 5)), MIXED, SHIFT)))


@folds("Reshape")
def reshape_folds(b: Builder) -> str:
    x = b.node("Reshape", b.affine(b.input((2, 4, 5)), MIXED, SHIFT), b.ints(0, -1))
    return linear(b, x, 20, 2)


@stays("Reshape that tears channels")
def reshape_that_tears_channels_stays(b: Builder) -> str:
    x = b.node("Reshape", b.affine(b.input((2, 4, 5)), MIXED, SHIFT), b.ints(2, 2, 10))
    return linear(b, x, 2, 3)


@folds("Flatten")
def flatten_folds(b: Builder) -> str:
    return linear(b, b.node("Flatten", b.affine(b.input((2, 4, 5)), MIXED, SHIFT)), 20, 2)


@stays("Flatten of channels into rows")
def flatten_of_channels_into_rows_stays(b: Builder) -> str:
    return linear(b, b.node("Flatten", b.affine(b.input((2, 4, 5)), MIXED, SHIFT), axis=2), 5, 2)


@folds("Squeeze")
def squeeze_folds(b: Builder) -> str:
    x = b.affine(b.node("GlobalMaxPool", b.input((2, 4, 5))), MIXED, SHIFT)
    return linear(b, b.node("Squeeze", x, b.ints(2)), 4, 2)


@stays("Squeeze")
def squeeze_stays(b: Builder) -> str:
    return b.node("Sigmoid", b.node("Squeeze", b.affine(b.input((2, 4, 1)), MIXED, SHIFT), b.ints(-1)))


@folds("Unsqueeze")
def unsqueeze_folds(b: Builder) -> str:
    return linear(b, b.node("Unsqueeze", b.affine(b.input((2, 4)), MIXED, SHIFT), b.ints(2, 3)), 4, 4)


@stays("Unsqueeze that makes the channels space")
def unsqueeze_that_makes_the_channels_space_stays(b: Builder) -> str:
    return linear(b, b.node("Unsqueeze", b.affine(b.input((2, 4)), MIXED, SHIFT), b.ints(1)), 1, 3)


@folds("Expand")
def expand_folds(b: Builder) -> str:
    return linear(b, b.node("Expand", b.affine(b.input((2, 4, 1)), MIXED, SHIFT), b.ints(2, 4, 5)), 4, 3)


@stays("Expand of what varies in space")
def expand_of_what_varies_in_space_stays(b: Builder) -> str:
    x = b.node("Mul", b.input((2, 1, 4)), b.constant(np.array(MIXED)))
    return linear(b, b.node("Expand", x, b.ints(2, 3, 4)), 3, 3)


@folds("Concat")
def concat_folds(b: Builder) -> str:
    x = b.affine(b.input((2, 4, 5)), MIXED, SHIFT)
    return linear(b, b.node("Concat", b.node("Relu", b.input((2, 2, 5), name="z")), x, axis=1), 6, 3)


@stays("Concat along space")
def concat_along_space_stays(b: Builder) -> str:
    x = b.affine(b.input((2, 4, 5)), MIXED, SHIFT)
    return linear(b, b.node("Concat", b.node("Relu", b.input((2, 4, 2), name="z")), x, axis=2), 4, 3)


@folds("Split")
def split_folds(b: Builder) -> list[str]:
    parts = b.nodes_out("Split", b.affine(b.input((2, 4, 5)), MIXED, SHIFT), b.ints(1, 3), outputs=2, axis=1)
    return [linear(b, part, count, 3) for part, count in zip(parts, (1, 3), strict=True)]


@stays("Split")
def split_stays(b: Builder) -> list[str]:
    first, second = b.nodes_out("Split", b.affine(b.input((2, 4, 5)), MIXED, SHIFT), b.ints(1, 3), outputs=2, axis=1)
    return [linear(b, first, 1, 3), b.node("Sigmoid", second)]


@folds("Slice")
def slice_folds(b: Builder) -> str:
    x = b.affine(b.input((2, 4, 5)), MIXED, SHIFT)
    return linear(b, b.node("Slice", x, b.ints(-1), b.ints(-4), b.ints(1), b.ints(-2)), 2, 3)


@stays("Slice")
def slice_stays(b: Builder) -> list[str]:
    x = b.affine(b.input((2, 4, 5)), MIXED, SHIFT)
    return [linear(b, b.node("Slice", x, b.ints(1), b.ints(3), b.ints(1)), 2, 3), b.node("Sigmoid", x)]


@folds("Gather of channels")
def gather_of_channels_folds(b: Builder) -> str:
    x = b.node("Gather", b.affine(b.input((2, 4, 5)), MIXED, SHIFT), b.ints(3, 1, 1), axis=1)
    return linear(b, x, 3, 3)


@stays("Gather of channels that are not known")
def gather_of_channels_that_are_not_known_stays(b: Builder) -> str:
    places = b.input((3,), name="places", element=TensorProto.INT64)
    return linear(b, b.node("Gather", b.affine(b.input((2, 4, 5)), MIXED, SHIFT), places, axis=1), 3, 3)


@folds("Gather from a table")
def gather_from_a_table_folds(b: Builder) -> str:
    places = b.input((2, 3), name="places", element=TensorProto.INT64)
    x = b.node("Gather", b.constant(b.normal(2, 4)), places)
    return b.node("Sigmoid", b.node("Mul", x, b.constant(np.array(MIXED))))


@stays("Gather from a table, an affine along the places")
def gather_from_a_table_an_affine_along_the_places_stays(b: Builder) -> str:
    places = b.input((2, 4), name="places", element=TensorProto.INT64)
    x = b.node("Gather", b.constant(b.normal(2, 5)), places)
    return b.node("Sigmoid", b.affine(x, MIXED, SHIFT))


@folds("Pad")
def pad_folds(b: Builder) -> str:
    x = b.node("Pad", b.affine(b.input((2, 4, 5)), MIXED), b.ints(0, 0, 1, 0, 0, 1))
    return linear(b, x, 4, 3)


@folds("Pad")
def pad_takes_one_shift_for_all_channels(b: Builder) -> str:
    """One scale and shift for all channels: the padding becomes what they make of it."""
    x = b.node("Pad", b.affine(b.input((2, 4, 5)), (1.5,) * 4, (0.25,) * 4), b.ints(0, 0, 1, 0, 0, 1))
    return linear(b, x, 4, 3)


@stays("Pad")
def pad_stays(b: Builder) -> str:
    x = b.node("Pad", b.affine(b.input((2, 4, 5)), MIXED, SHIFT), b.ints(0, 0, 1, 0, 0, 1))
    return linear(b, x, 4, 3)


@folds("Resize")
def resize_folds(b: Builder) -> str:
    x = b.node("Resize", b.affine(b.input((2, 4, 5)), MIXED, SHIFT), "", "", b.ints(2, 4, 7), mode="linear")
    return linear(b, x, 4, 3)


@stays("Resize of channels")
def resize_of_channels_stays(b: Builder) -> str:
    x = b.node("Resize", b.affine(b.input((2, 4, 5)), MIXED, SHIFT), "", "", b.ints(2, 6, 5), mode="linear")
    return linear(b, x, 6, 3)


@folds("Upsample", opset=9)
def upsample_folds(b: Builder) -> str:
    scales = b.constant(np.array([1, 1, 2.0]), dtype=np.float32)
    return linear(b, b.node("Upsample", b.affine(b.input((2, 4, 5)), MIXED, SHIFT), scales), 4, 3)


@stays("Upsample", opset=9)
def upsample_stays(b: Builder) -> str:
    scales = b.constant(np.array([1, 1, 2.0]), dtype=np.float32)
    return b.node("Sigmoid", b.node("Upsample", b.affine(b.input((2, 4, 5)), MIXED, SHIFT), scales))


@folds("DepthToSpace")
def depth_to_space_folds(b: Builder) -> str:
    x = b.node("DepthToSpace", b.conv(b.input((1, 3, 2, 2)), 3, 16, (1, 1)), blocksize=2)
    return b.node("Sigmoid", b.affine(x, MIXED, SHIFT))


@stays("DepthToSpace of channels that differ")
def depth_to_space_of_channels_that_differ_stays(b: Builder) -> str:
    return linear(b, b.node("DepthToSpace", b.affine(b.input((1, 4, 2, 2)), MIXED, SHIFT), blocksize=2), 1, 4)


@folds("SpaceToDepth")
def space_to_depth_folds(b: Builder) -> str:
    return linear(b, b.node("SpaceToDepth", b.affine(b.input((1, 4, 2, 4)), MIXED, SHIFT), blocksize=2), 16, 4)


@stays("SpaceToDepth into channels that differ")
def space_to_depth_into_channels_that_differ_stays(b: Builder) -> str:
    x = b.node("SpaceToDepth", b.conv(b.input((1, 3, 2, 4)), 3, 1, (1, 1)), blocksize=2)
    return b.node("Sigmoid", b.affine(x, MIXED, SHIFT))


@folds("Tile")
def tile_folds(b: Builder) -> str:
    return linear(b, b.node("Tile", b.affine(b.input((2, 4, 1)), MIXED, SHIFT), b.ints(1, 2, 5)), 8, 3)


@stays("Tile into channels that differ")
def tile_into_channels_that_differ_stays(b: Builder) -> str:
    x = b.node("Tile", b.conv(b.input((2, 4, 5)), 4, 2), b.ints(1, 2, 1))
    return b.node("Sigmoid", b.affine(x, MIXED, SHIFT))


@folds("GatherElements along space")
def gather_elements_along_space_folds(b: Builder) -> str:
    places = b.input((2, 4, 2), name="places", element=TensorProto.INT64)
    return linear(b, b.node("GatherElements", b.affine(b.input((2, 4, 5)), MIXED, SHIFT), places, axis=2), 4, 3)


@stays("GatherElements along the channels")
def gather_elements_along_the_channels_stays(b: Builder) -> str:
    places = b.input((2, 4, 5), name="places", element=TensorProto.INT64)
    return linear(b, b.node("GatherElements", b.affine(b.input((2, 4, 5)), MIXED, SHIFT), places, axis=1), 4, 3)


@folds("GatherND of rows")
def gather_nd_of_rows_folds(b: Builder) -> str:
    places = b.input((3, 1), name="places", element=TensorProto.INT64)
    return linear(b, b.node("GatherND", b.affine(b.input((2, 4, 5)), MIXED, SHIFT), places), 4, 3)


@stays("GatherND of channels")
def gather_nd_of_channels_stays(b: Builder) -> str:
    places = b.input((3, 2), name="places", element=TensorProto.INT64)
    return linear(b, b.node("GatherND", b.affine(b.input((2, 4, 5)), MIXED, SHIFT), places), 5, 2)


@folds("ScatterND of rows")
def scatter_nd_of_rows_folds(b: Builder) -> str:
    x = b.input((2, 4, 5))
    rows = b.conv(b.input((1, 4, 5), name="z"), 4, 4)
    places = b.constant(np.array([[1]], np.int64))
    return b.node("Sigmoid", b.affine(b.node("ScatterND", b.conv(x, 4, 4), places, rows), MIXED, SHIFT))


@stays("ScatterND of rows")
def scatter_nd_of_rows_stays(b: Builder) -> str:
    places = b.constant(np.array([[1]], np.int64))
    x = b.node("ScatterND", b.conv(b.input((2, 4, 5)), 4, 4), places, b.input((1, 4, 5), name="z"))
    return b.node("Sigmoid", b.affine(x, MIXED, SHIFT))


@folds("ScatterND that adds up")
def scatter_nd_that_adds_up_folds(b: Builder) -> str:
    places = b.constant(np.array([[1], [1]], np.int64))
    rows = b.conv(b.input((2, 4, 5), name="z"), 4, 4)
    x = b.node("ScatterND", b.conv(b.input((2, 4, 5)), 4, 4), places, rows, reduction="add")
    return b.node("Sigmoid", b.affine(x, MIXED))


@stays("ScatterND that adds up, with a shift")
def scatter_nd_that_adds_up_stays(b: Builder) -> str:
    places = b.constant(np.array([[1], [1]], np.int64))
    rows = b.conv(b.input((2, 4, 5), name="z"), 4, 4)
    x = b.node("ScatterND", b.conv(b.input((2, 4, 5)), 4, 4), places, rows, reduction="add")
    return b.node("Sigmoid", b.affine(x, MIXED, SHIFT))


@folds("ScatterND of constants")
def scatter_nd_of_constants_folds(b: Builder) -> str:
    places = b.constant(np.array([[1]], np.int64))
    x = b.node("ScatterND", b.conv(b.input((2, 4, 5)), 4, 4), places, b.constant(b.normal(1, 4, 5)))
    return b.node("Sigmoid", b.affine(x, MIXED, SHIFT))


@folds("ScatterElements along space")
def scatter_elements_along_space_folds(b: Builder) -> str:
    places = b.constant(np.arange(16).reshape(2, 4, 2) % 5)
    rows = b.conv(b.input((2, 4, 2), name="z"), 4, 4)
    x = b.node("ScatterElements", b.conv(b.input((2, 4, 5)), 4, 4), places, rows, axis=2)
    return b.node("Sigmoid", b.affine(x, MIXED, SHIFT))


@stays("ScatterElements of the first channels")
def scatter_elements_of_the_first_channels_stays(b: Builder) -> str:
    places = b.constant(np.arange(12).reshape(2, 3, 2) % 5)
    rows = b.conv(b.input((2, 4, 2), name="z"), 4, 3)
    x = b.node("ScatterElements", b.conv(b.input((2, 4, 5)), 4, 4), places, rows, axis=2)
    return b.node("Sigmoid", b.affine(x, MIXED, SHIFT))


@folds("GridSample")
def grid_sample_folds(b: Builder) -> str:
    grid = b.node("Tanh", b.input((1, 3, 3, 2), name="grid"))
    x = b.node("GridSample", b.affine(b.input((1, 4, 5, 4)), MIXED), grid, mode="bilinear")
    return linear(b, x, 4, 4)


@stays("GridSample that pads with zeros")
def grid_sample_that_pads_with_zeros_stays(b: Builder) -> str:
    x = b.affine(b.input((1, 4, 5, 4)), MIXED, SHIFT)
    return linear(b, b.node("GridSample", x, b.input((1, 3, 3, 2), name="grid"), mode="bilinear"), 4, 4)


@folds("ReverseSequence of the batch")
def reverse_sequence_of_the_batch_folds(b: Builder) -> str:
    x = b.affine(b.input((5, 4)), MIXED, SHIFT)
    x = b.node("Unsqueeze", x, b.ints(1))
    x = b.node("ReverseSequence", x, b.ints(3), batch_axis=1, time_axis=0)
    return linear(b, b.node("Squeeze", x, b.ints(1)), 4, 2)


@stays("ReverseSequence of the channels")
def reverse_sequence_of_the_channels_stays(b: Builder) -> str:
    x = b.affine(b.input((2, 4, 5)), MIXED, SHIFT)
    lengths = b.input((2,), name="lengths", element=TensorProto.INT64)
    return linear(b, b.node("ReverseSequence", x, lengths, batch_axis=0, time_axis=1), 4, 3)


@folds("Trilu")
def trilu_folds(b: Builder) -> str:
    x = b.node("Trilu", b.affine(b.input((2, 4, 5, 5)), MIXED))
    return linear(b, x, 4, 4)


@stays("Trilu")
def trilu_stays(b: Builder) -> str:
    return linear(b, b.node("Trilu", b.affine(b.input((2, 4, 5, 5)), MIXED, SHIFT)), 4, 4)


@folds("MaxPool")
def max_pool_folds(b: Builder) -> str:
    return linear(b, b.node("MaxPool", b.affine(b.input((2, 4, 5)), POSITIVE, SHIFT), kernel_shape=[2]), 4, 3)


@stays("MaxPool")
def max_pool_stays(b: Builder) -> str:
    return linear(b, b.node("MaxPool", b.affine(b.input((2, 4, 5)), MIXED, SHIFT), kernel_shape=[2]), 4, 3)


@folds("AveragePool")
def average_pool_folds(b: Builder) -> str:
    x = b.affine(b.input((2, 4, 5)), MIXED, SHIFT)
    return linear(b, b.node("AveragePool", x, kernel_shape=[3], pads=[1, 1]), 4, 3)


@stays("AveragePool that counts padding")
def average_pool_that_counts_padding_stays(b: Builder) -> str:
    x = b.affine(b.input((2, 4, 5)), MIXED, SHIFT)
    return linear(b, b.node("AveragePool", x, kernel_shape=[3], pads=[1, 1], count_include_pad=1), 4, 3)


@folds("GlobalAveragePool")
def global_average_pool_folds(b: Builder) -> str:
    return linear(b, b.node("GlobalAveragePool", b.affine(b.input((2, 4, 5)), MIXED, SHIFT)), 4, 3)


@stays("GlobalAveragePool of what varies in space")
def global_average_pool_of_what_varies_in_space_stays(b: Builder) -> str:
    x = b.node("Mul", b.input((2, 4, 5)), b.constant(b.normal(5)))
    return linear(b, b.node("GlobalAveragePool", x), 4, 3)


@folds("GlobalMaxPool")
def global_max_pool_folds(b: Builder) -> str:
    return linear(b, b.node("GlobalMaxPool", b.affine(b.input((2, 4, 5)), POSITIVE, SHIFT)), 4, 3)


@stays("GlobalMaxPool")
def global_max_pool_stays(b: Builder) -> str:
    return linear(b, b.node("GlobalMaxPool", b.affine(b.input((2, 4, 5)), MIXED, SHIFT)), 4, 3)


@folds("LpPool")
def lp_pool_folds(b: Builder) -> str:
    return linear(b, b.node("LpPool", b.affine(b.input((2, 4, 5)), MIXED), kernel_shape=[2], p=2), 4, 3)


@stays("LpPool")
def lp_pool_stays(b: Builder) -> str:
    return linear(b, b.node("LpPool", b.affine(b.input((2, 4, 5)), POSITIVE, SHIFT), kernel_shape=[2], p=2), 4, 3)


@folds("GlobalLpPool")
def global_lp_pool_folds(b: Builder) -> str:
    return linear(b, b.node("GlobalLpPool", b.affine(b.input((2, 4, 5)), MIXED), p=1), 4, 3)


@stays("GlobalLpPool")
def global_lp_pool_stays(b: Builder) -> str:
    return linear(b, b.node("GlobalLpPool", b.affine(b.input((2, 4, 5)), POSITIVE, SHIFT), p=1), 4, 3)


@folds("ReduceMean")
def reduce_mean_folds(b: Builder) -> str:
    return linear(b, b.node("ReduceMean", b.affine(b.input((2, 4, 5)), MIXED, SHIFT), b.ints(2), keepdims=0), 4, 2)


@stays("ReduceMean of the channels")
def reduce_mean_of_the_channels_stays(b: Builder) -> str:
    x = b.affine(b.input((2, 4, 5)), MIXED, SHIFT)
    return linear(b, b.node("ReduceMean", x, b.ints(1), keepdims=0), 5, 2)


@folds("ReduceSum")
def reduce_sum_folds(b: Builder) -> str:
    return linear(b, b.node("ReduceSum", b.affine(b.input((2, 4, 5)), MIXED), b.ints(-1)), 4, 3)


@stays("ReduceSum of the channels")
def reduce_sum_of_the_channels_stays(b: Builder) -> str:
    return linear(b, b.node("ReduceSum", b.affine(b.input((2, 4, 5)), MIXED), b.ints(1), keepdims=0), 5, 2)


@folds("ReduceMax")
def reduce_max_folds(b: Builder) -> str:
    return linear(b, b.node("ReduceMax", b.affine(b.input((2, 4, 5)), POSITIVE, SHIFT), b.ints(2)), 4, 3)


@folds("ReduceMax of a negative scale")
def reduce_max_of_a_negative_scale_folds(b: Builder) -> str:
    return linear(b, b.node("ReduceMax", b.node("Neg", b.input((2, 4, 5))), b.ints(2)), 4, 3)


@stays("ReduceMax")
def reduce_max_stays(b: Builder) -> str:
    return linear(b, b.node("ReduceMax", b.affine(b.input((2, 4, 5)), MIXED, SHIFT), b.ints(2)), 4, 3)


@folds("ReduceMin")
def reduce_min_folds(b: Builder) -> str:
    return linear(b, b.node("ReduceMin", b.affine(b.input((2, 4, 5)), POSITIVE, SHIFT), b.ints(2)), 4, 3)


@stays("ReduceMin")
def reduce_min_stays(b: Builder) -> str:
    return linear(b, b.node("ReduceMin", b.affine(b.input((2, 4, 5)), MIXED, SHIFT), b.ints(2)), 4, 3)


@folds("ReduceL1")
def reduce_l1_folds(b: Builder) -> str:
    return linear(b, b.node("ReduceL1", b.affine(b.input((2, 4, 5)), MIXED), b.ints(2)), 4, 3)


@stays("ReduceL1")
def reduce_l1_stays(b: Builder) -> str:
    return linear(b, b.node("ReduceL1", b.affine(b.input((2, 4, 5)), MIXED, SHIFT), b.ints(2)), 4, 3)


@folds("ReduceL2")
def reduce_l2_folds(b: Builder) -> str:
    return linear(b, b.node("ReduceL2", b.affine(b.input((2, 4, 5)), MIXED), b.ints(2)), 4, 3)


@stays("ReduceL2 of the channels")
def reduce_l2_of_the_channels_stays(b: Builder) -> str:
    return linear(b, b.node("ReduceL2", b.affine(b.input((2, 4, 5)), MIXED), b.ints(1), keepdims=0), 5, 2)


@folds("ReduceSumSquare")
def reduce_sum_square_folds(b: Builder) -> str:
    return linear(b, b.node("ReduceSumSquare", b.affine(b.input((2, 4, 5)), MIXED), b.ints(2)), 4, 3)


@stays("ReduceSumSquare")
def reduce_sum_square_stays(b: Builder) -> str:
    return linear(b, b.node("ReduceSumSquare", b.affine(b.input((2, 4, 5)), MIXED, SHIFT), b.ints(2)), 4, 3)


@folds("ArgMax along space")
def arg_max_along_space_folds(b: Builder) -> str:
    x = b.node("ArgMax", b.affine(b.input((2, 4, 5)), POSITIVE, SHIFT), axis=2)
    return b.node("Cast", x, to=TensorProto.DOUBLE)


@stays("ArgMax of values that the shift makes equal")
def arg_max_of_values_that_the_shift_makes_equal_stays(b: Builder) -> str:
    x = b.node("ArgMax", b.affine(b.input((2, 4, 5)), np.multiply(POSITIVE, 1e-12), SHIFT), axis=2)
    return b.node("Cast", x, to=TensorProto.DOUBLE)


@stays("ArgMin of values that the scale makes equal")
def arg_min_of_values_that_the_scale_makes_equal_stays(b: Builder) -> str:
    x = b.node("ArgMin", b.affine(b.input((2, 4, 5)), np.multiply(POSITIVE, 1e-200)), axis=2, select_last_index=1)
    return b.node("Cast", x, to=TensorProto.DOUBLE)


@stays("ArgMax of the channels")
def arg_max_of_the_channels_stays(b: Builder) -> str:
    x = b.node("ArgMax", b.affine(b.input((2, 4, 5)), POSITIVE, SHIFT), axis=1)
    return b.node("Cast", x, to=TensorProto.DOUBLE)


@folds("ArgMin along space")
def arg_min_along_space_folds(b: Builder) -> str:
    x = b.node("ArgMin", b.affine(b.input((2, 4, 5)), POSITIVE, SHIFT), axis=2)
    return b.node("Cast", x, to=TensorProto.DOUBLE)


@stays("ArgMin of scales of both signs")
def arg_min_of_scales_of_both_signs_stays(b: Builder) -> str:
    x = b.node("ArgMin", b.affine(b.input((2, 4, 5)), MIXED, SHIFT), axis=2)
    return b.node("Cast", x, to=TensorProto.DOUBLE)
