"""Breaks correct results on purpose: each mistake must be caught, and shown at its node.

    python -m fuzz mutations --networks 500 [--jobs 2] [--resume FILE]

Each network (convolutions with residual sums, a transformer's block with a mask, or a random one in single precision)
is optimized, and the result proved: a proof that fails is a false alarm. Then one mistake of each kind that the result
has room for is made in it. Where the mistake moves an output by more than the original's own rounding moves it, by a
margin of 24, `verify` must fail, and `report.place` must name the node with the mistake, or a piece with it. Rounding
is what float32 kernels are off by, or, where that is more, what moving the original's weights by one rounding does to
its outputs in float64. The exit code is 1 where a mistake was not caught or a right result was called wrong. With
`--resume` the counts of each network are kept in a file, a line of JSON each, and networks that stand there are not
tried again.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

import onnxnorm
from fuzz.networks import feeds_of, in_precision
from onnxnorm.evaluate.evaluator import evaluate_float64
from onnxnorm.runtime.unoptimized import open_session
from onnxnorm.verification.pairs import reads
from testing.builder import Builder
from testing.networks import random_network

__all__ = ["Counts", "network", "try_network"]

MARGIN = 24.0
"""How far beyond the original's rounding an output must move to be a mistake that has to be caught."""


@dataclass
class Counts:
    """What became of results and mistakes; `missed` and `alarms` say which were judged wrongly."""

    right: int = 0
    alarms: list[str] = field(default_factory=list)
    caught: Counter[str] = field(default_factory=Counter)
    at_node: Counter[str] = field(default_factory=Counter)
    in_piece: Counter[str] = field(default_factory=Counter)
    within_rounding: Counter[str] = field(default_factory=Counter)
    missed: list[str] = field(default_factory=list)

    def add(self, other: Counts) -> None:
        """Add the counts of other networks."""
        self.right += other.right
        for name in ("alarms", "missed"):
            getattr(self, name).extend(getattr(other, name))
        for name in ("caught", "at_node", "in_piece", "within_rounding"):
            getattr(self, name).update(getattr(other, name))

    def __str__(self) -> str:
        caught, small = sum(self.caught.values()), sum(self.within_rounding.values())
        lines = [
            f"{self.right + len(self.alarms)} right results, {len(self.alarms)} called wrong; "
            f"{caught + len(self.missed)} mistakes, {len(self.missed)} not caught; of those caught "
            f"{sum(self.at_node.values())} shown at their node, {sum(self.in_piece.values())} more within the piece; "
            f"{small} further mistakes moved no output beyond rounding"
        ]
        lines += [
            f"  {kind}: {self.caught[kind]} caught, {self.at_node[kind]} at the node, {self.in_piece[kind]} in the "
            f"piece, {self.within_rounding[kind]} within rounding"
            for kind in KINDS
        ]
        return "\n".join([*lines, *self.alarms, *self.missed])


def network(seed: int) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """Make the network of this seed, with inputs for it."""
    if seed % 3 == 0:
        model = _convolutions(seed)
    elif seed % 3 == 1:
        model = _attention(seed)
    else:
        model = in_precision(random_network(seed, 30, quantized=False), "float32")
    feeds = feeds_of(model, seed)
    if "mask" in feeds:
        mask = np.random.default_rng(seed).random(feeds["mask"].shape) < 0.7
        mask[:, 0] = True
        feeds["mask"] = mask.astype(np.float32)
    return model, feeds


def _convolutions(seed: int) -> onnx.ModelProto:
    b = Builder(seed=seed, dtype=np.float32)
    x, channels = b.input((2, 3, 10, 10)), 3
    for stage in range(3):
        outputs = int(b.random.integers(4, 9))
        y = b.batch_norm(b.conv(x, channels, outputs, (3, 3), pads=[1, 1, 1, 1]), outputs)
        y = b.node(("Relu", "Sigmoid", "Tanh")[int(b.random.integers(3))], y)
        z = b.batch_norm(b.conv(y, outputs, outputs, (3, 3), pads=[1, 1, 1, 1]), outputs)
        x, channels = b.node("Add", z, y) if stage % 2 else b.node("Concat", z, y, axis=1), outputs * (2 - stage % 2)
    x = b.node("Flatten", b.node("GlobalAveragePool", x))
    scaled = b.normal(channels, channels) / np.sqrt(channels)
    return b.model(b.node("Gemm", x, b.constant(scaled), b.constant(b.normal(channels))))


def _attention(seed: int) -> onnx.ModelProto:
    b = Builder(seed=seed, dtype=np.float32)
    heads, size, tokens = 2, 4, int(b.random.integers(5, 8))
    width = heads * size
    x, mask = b.input((2, tokens, width)), b.input((2, tokens), "mask")

    def linear(value: str) -> str:
        product = b.node("MatMul", value, b.constant(b.normal(width, width) / np.sqrt(width)))
        return b.node("Add", product, b.constant(b.normal(width)))

    shape = b.ints(0, 0, heads, size)

    def split(value: str, perm: list[int]) -> str:
        return b.node("Transpose", b.node("Reshape", value, shape), perm=perm)

    scale, shift = b.constant(b.random.uniform(0.5, 1.5, width)), b.constant(b.normal(width))
    normed = b.node("LayerNormalization", x, scale, shift, axis=-1, epsilon=1e-2)
    q, k, v = (
        split(linear(normed), [0, 2, 1, 3]),
        split(linear(normed), [0, 2, 3, 1]),
        split(linear(normed), [0, 2, 1, 3]),
    )
    hidden = b.node("Mul", b.node("Sub", b.constant(np.float32(1.0)), mask), b.constant(np.float32(-1e4)))
    scores = b.node("Div", b.node("MatMul", q, k), b.constant(np.float32(2.0)))
    scores = b.node("Add", scores, b.node("Unsqueeze", hidden, b.ints(1, 2)))
    mixed = b.node("Transpose", b.node("MatMul", b.node("Softmax", scores, axis=-1), v), perm=[0, 2, 1, 3])
    merged = linear(b.node("Reshape", mixed, b.ints(0, 0, width)))
    total = b.node("Add", merged, x)
    return b.model(b.node("LayerNormalization", total, scale, shift, axis=-1, epsilon=1e-2))


_Change = Callable[[np.ndarray, np.random.Generator], "np.ndarray | None"]


def _off(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    values.flat[int(rng.integers(values.size))] *= np.float32(1.001)
    return values


def _swapped(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    values.flat[int(rng.integers(values.size))] *= np.float32(-1.0)
    return values


def _dropped(values: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
    if values.ndim != 1:
        return None
    values[int(rng.integers(values.size))] = 0.0
    return values


def _transposed(values: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
    return values.T.copy() if values.ndim == 2 and values.shape[0] == values.shape[1] else None


def _stale(values: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
    return values[[0, 1, 3, 2]] if values.shape == (4,) and values[2] != values[3] else None


WEIGHTS: Mapping[str, tuple[_Change, dict[str, tuple[int, ...]]]] = {
    "a weight off by 1e-3": (_off, {"Conv": (1,), "Gemm": (1,), "MatMul": (1,)}),
    "a sign swapped": (_swapped, {"Conv": (1,), "Gemm": (1,), "MatMul": (1,), "BatchNormalization": (1,)}),
    "a bias dropped": (_dropped, {"Conv": (2,), "Gemm": (2,), "Add": (1,), "LayerNormalization": (2,)}),
    "a weight transposed": (_transposed, {"Gemm": (1,), "MatMul": (1,)}),
    "a stale shape": (_stale, {"Reshape": (1,)}),
}


def _mutants(
    result: onnx.ModelProto, kind: str, rng: np.random.Generator
) -> Iterator[tuple[onnx.ModelProto, set[str]]]:
    """Yield results with one mistake of a kind, in random order of places, with the nodes that have it."""
    places = list(range(len(result.graph.node)))
    rng.shuffle(places)
    for place in places:
        copy = onnx.ModelProto.FromString(result.SerializeToString())
        node = copy.graph.node[place]
        name = node.name or node.output[0]
        if kind in WEIGHTS:
            change, where = WEIGHTS[kind]
            for position in where.get(node.op_type, ()):
                tensor = next(
                    (t for t in copy.graph.initializer if [t.name] == list(node.input[position : position + 1])), None
                )
                values = None if tensor is None else change(np.array(numpy_helper.to_array(tensor)), rng)
                if tensor is not None and values is not None:
                    tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values), tensor.name))
                    yield copy, {n.name or n.output[0] for n in copy.graph.node if tensor.name in reads(n)}
        elif _change_node(node, kind):
            yield copy, {name}


def _change_node(node: onnx.NodeProto, kind: str) -> bool:
    by_name = {attribute.name: attribute for attribute in node.attribute}
    if kind == "another epsilon" and "epsilon" in by_name:
        by_name["epsilon"].f *= 1.1
        return True
    if kind == "another axis" and node.op_type in ("Softmax", "Concat") and "axis" in by_name:
        by_name["axis"].i = -2 if node.op_type == "Softmax" else (2 if by_name["axis"].i != 2 else 1)
        return True
    if kind == "the mask everywhere" and node.op_type == "Sub":
        node.op_type = "Max"
        return True
    return False


KINDS = (*WEIGHTS, "another epsilon", "another axis", "the mask everywhere")


def try_network(seed: int, counts: Counts) -> None:
    """Optimize the network of this seed, prove the result, and break it in every way that there is room for."""
    model, feeds = network(seed)
    try:
        result = onnxnorm.optimize(model, verify=False).model
        report = onnxnorm.verify(model, result, feeds)
    except onnxnorm.OnnxNormError as error:
        if "cannot run the original" not in str(error):
            counts.alarms.append(f"seed {seed}: {error}")
        return
    if not report.passed:
        counts.alarms.append(f"seed {seed}: {report}")
        return
    counts.right += 1
    exact = evaluate_float64(model, feeds)
    opened = open_session(model, "off")
    seen = dict(zip([each.name for each in opened.get_outputs()], opened.run(None, feeds), strict=True))
    rounding = {name: _rms(seen[name] - exact[name]) for name in exact if exact[name].dtype.kind == "f"}
    before = evaluate_float64(result, feeds)
    for number, kind in enumerate(KINDS):
        for mutant, nodes in _mutants(result, kind, np.random.default_rng([seed, number])):
            if _try_mutant(model, mutant, nodes, kind, seed, feeds, before, rounding, counts):
                break


def _try_mutant(
    model: onnx.ModelProto,
    mutant: onnx.ModelProto,
    nodes: set[str],
    kind: str,
    seed: int,
    feeds: dict[str, np.ndarray],
    before: Mapping[str, np.ndarray],
    rounding: Mapping[str, float],
    counts: Counts,
) -> bool:
    """Judge one broken result; tells whether it was one that runs and keeps the shapes."""
    try:
        onnx.checker.check_model(mutant, full_check=True)
        after = evaluate_float64(mutant, feeds)
    except Exception:
        return False
    if any(after[name].shape != before[name].shape for name in before):
        return False
    moved = {name: _rms(after[name] - before[name]) for name in rounding}
    is_mistake = any(moved[name] > MARGIN * max(rounding[name], 2.0**-24 * _rms(before[name])) for name in moved)
    if not is_mistake:
        counts.within_rounding[kind] += 1
        return True
    report = onnxnorm.verify(model, mutant, feeds)
    if report.passed:
        moved_by_rounding = rounding_of_weights(model, feeds, seed)
        if all(moved[name] <= MARGIN * moved_by_rounding[name] for name in moved):
            counts.within_rounding[kind] += 1
            return True
        counts.missed.append(f"seed {seed}: {kind} at {sorted(nodes)} was not caught: {report}")
        return True
    counts.caught[kind] += 1
    if report.place is not None and report.place.node in nodes:
        counts.at_node[kind] += 1
    elif report.place is not None and report.place.piece is not None:
        piece = {node.name or node.output[0] for node in report.place.piece.result}
        counts.in_piece[kind] += bool(piece & nodes)
    return True


def rounding_of_weights(
    model: onnx.ModelProto, feeds: dict[str, np.ndarray], seed: int, draws: int = 5
) -> dict[str, float]:
    """Return how far each real output moves in float64 where each element of a weight goes to a neighbour or stays."""
    exact = evaluate_float64(model, feeds)
    found = {name: 0.0 for name, value in exact.items() if value.dtype.kind == "f"}
    for draw in range(draws):
        rng, copy = np.random.default_rng([seed, draw, 2]), onnx.ModelProto.FromString(model.SerializeToString())
        for tensor in copy.graph.initializer:
            values = numpy_helper.to_array(tensor)
            if values.dtype == np.float32 and values.ndim:
                towards = rng.choice(np.array([-np.inf, 0.0, np.inf], np.float32), values.shape)
                moved = np.where(towards == 0.0, values, np.nextafter(values, towards, dtype=np.float32))
                tensor.CopyFrom(numpy_helper.from_array(moved, tensor.name))
        outputs = evaluate_float64(copy, feeds)
        found = {name: max(most, _rms(outputs[name] - exact[name])) for name, most in found.items()}
    return found


def _rms(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)].astype(np.float64)
    return float(np.sqrt(np.mean(finite**2))) if finite.size else 0.0


def tried(seed: int) -> tuple[int, Counts]:
    """Try one network, by itself."""
    counts = Counts()
    try_network(seed, counts)
    return seed, counts


def kept(path: Path | None) -> dict[int, Counts]:
    """Read the counts that a run before left in a file, by seed."""
    lines = path.read_text().splitlines() if path is not None and path.exists() else []
    found = {}
    for record in map(json.loads, lines):
        counters = {name: Counter(value) for name, value in record["counts"].items() if isinstance(value, dict)}
        found[record["seed"]] = Counts(**{**record["counts"], **counters})
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m fuzz mutations", description=__doc__.splitlines()[0])
    parser.add_argument("--networks", type=int, default=500, help="how many (default: 500)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default: 0)")
    parser.add_argument("--minutes", type=float, help="stop after so long, and report what was tried by then")
    parser.add_argument("--jobs", type=int, default=1, help="processes (default: 1)")
    parser.add_argument("--resume", type=Path, help="a file that keeps the counts of each network between runs")
    arguments = parser.parse_args()
    start, seeds = time.perf_counter(), range(arguments.first, arguments.first + arguments.networks)
    done = {seed: counts for seed, counts in kept(arguments.resume).items() if seed in seeds}
    left = [seed for seed in seeds if seed not in done]
    with multiprocessing.get_context("spawn").Pool(arguments.jobs) as pool:
        for seed, counts in pool.imap_unordered(tried, left):
            done[seed] = counts
            if arguments.resume is not None:
                with arguments.resume.open("a") as file:
                    file.write(json.dumps({"seed": seed, "counts": vars(counts)}) + "\n")
            if len(done) % 20 == 0:
                print(f"... {len(done)} networks, {time.perf_counter() - start:.0f} s", file=sys.stderr)
            if arguments.minutes is not None and time.perf_counter() - start > 60.0 * arguments.minutes:
                break
    total = Counts()
    for seed in sorted(done):
        total.add(done[seed])
    print(total)
    return 1 if total.alarms or total.missed else 0


if __name__ == "__main__":
    sys.exit(main())
