"""Which merges of linear operators pay in onnxruntime: times before and after, as ratios.

    python -m bench linear_cost [--seconds S]

What `onnxnorm.linear` goes by: convolutions side by side that are concatenated become one; those whose results go
different ways stay, since what splits them again costs what is saved; a pool behind a 1x1 convolution stays, behind a
larger one it goes. One thread, medians of interleaved runs.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import onnx

from bench.clock import medians, one_thread
from bench.tables import print_head, print_row
from testing.builder import Builder

Pair = tuple[str, onnx.ModelProto, onnx.ModelProto]
Build = Callable[[Builder, str], list[str]]


def model(shape: tuple[int, ...], build: Build) -> onnx.ModelProto:
    builder = Builder(dtype=np.float32)
    outputs = build(builder, builder.input(shape))
    return builder.model(*(builder.node("Relu", output) for output in outputs))


def siblings(channels: int, extent: int, outputs: tuple[int, ...], kernel: int) -> Iterator[Pair]:
    shape, pads, total = (1, channels, extent, extent), [kernel // 2] * 4, sum(outputs)

    def convolutions(b: Builder, x: str) -> list[str]:
        return [b.conv(x, channels, count, (kernel, kernel), pads=pads) for count in outputs]

    def wide(b: Builder, x: str) -> list[str]:
        return [b.conv(x, channels, total, (kernel, kernel), pads=pads)]

    def split(b: Builder, x: str) -> list[str]:
        return b.nodes_out("Split", *wide(b, x), b.ints(*outputs), outputs=len(outputs), axis=1)

    label = f"{kernel}x{kernel} {channels} to {'+'.join(map(str, outputs))} at {extent}"
    concat = model(shape, lambda b, x: [b.node("Concat", *convolutions(b, x), axis=1)])
    yield f"concatenated {label}", concat, model(shape, wide)
    yield f"split {label}", model(shape, convolutions), model(shape, split)


def pooled(channels: int, outputs: int, extent: int, kernel: int) -> Pair:
    shape, pads = (1, channels, extent, extent), [kernel // 2] * 4

    def before(b: Builder, x: str) -> list[str]:
        y = b.conv(x, channels, outputs, (kernel, kernel), pads=pads)
        return [b.node("AveragePool", y, kernel_shape=[2, 2], strides=[2, 2])]

    def after(b: Builder, x: str) -> list[str]:
        return [b.conv(x, channels, outputs, (kernel + 1, kernel + 1), pads=pads, strides=[2, 2])]

    label = f"{kernel}x{kernel} {channels} to {outputs} at {extent}, 2x2 pool"
    return label, model(shape, before), model(shape, after)


def space_to_depth(channels: int, outputs: int, extent: int) -> Pair:
    shape = (1, channels, extent, extent)

    def before(b: Builder, x: str) -> list[str]:
        far, axes, steps = b.ints(2**62, 2**62), b.ints(2, 3), b.ints(2, 2)
        parts = [b.node("Slice", x, b.ints(i, j), far, axes, steps) for i in (0, 1) for j in (0, 1)]
        return [b.conv(b.node("Concat", *parts, axis=1), 4 * channels, outputs, (3, 3), pads=[1] * 4)]

    def after(b: Builder, x: str) -> list[str]:
        return [b.conv(x, channels, outputs, (6, 6), pads=[2] * 4, strides=[2, 2])]

    return f"slices, 3x3 {channels} to {outputs} at {extent}", model(shape, before), model(shape, after)


def pairs() -> Iterator[Pair]:
    yield from siblings(192, 28, (64, 96, 16), 1)
    yield from siblings(64, 56, (64, 64), 1)
    yield from siblings(32, 56, (16, 16), 3)
    for kernel in (1, 3):
        yield pooled(128, 64, 56, kernel)
        yield pooled(64, 64, 28, kernel)
    yield space_to_depth(3, 32, 128)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2.0, help="how long each pair is timed")
    seconds = parser.parse_args().seconds
    print_head("case", "before us", "after us", "ratio")
    for label, *models in pairs():
        shape = [dim.dim_value for dim in models[0].graph.input[0].type.tensor_type.shape.dim]
        feeds = {"x": np.random.default_rng(0).normal(size=shape).astype(np.float32)}
        before, after = medians([partial(one_thread(each).run, None, feeds) for each in models], seconds)
        print_row(label, f"{before * 1e6:.0f}", f"{after * 1e6:.0f}", f"{before / after:.2f}")
