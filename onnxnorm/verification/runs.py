"""Runs models for `verify`: the original, its shaken copies and the result in onnxruntime, the original in float64."""

from __future__ import annotations

import contextlib
import pickle
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import ml_dtypes
import numpy as np
import onnx

from onnxnorm.errors import OnnxNormError
from onnxnorm.evaluate.evaluator import Float64Evaluator, NoFloat64Error
from onnxnorm.evaluate.operators import is_real
from onnxnorm.evaluate.rounded import RoundedEvaluator, has_halves
from onnxnorm.evaluate.watch import PARTS, Watch
from onnxnorm.model.held import is_held, store_of
from onnxnorm.model.protobuf import graphs_in
from onnxnorm.process.child import FORKS, BrokenOffError, in_child
from onnxnorm.runtime.inputs import Feeds, Ways
from onnxnorm.runtime.unoptimized import LEVELS, explain, lacks_kernel, open_session
from onnxnorm.verification.accuracy import unit_roundoff
from onnxnorm.verification.random_draws import RANDOM, with_same_draws
from onnxnorm.verification.rounding_noise import shake, shaken_weights

__all__ = ["ROUNDED", "Outputs", "Runs", "collect", "expose", "exposing", "run_all"]

Outputs: TypeAlias = dict[str, Any]


ROUNDED = "rounded"
"""The level of the run in float64 with every result rounded to its own type, where that is a half."""

_SHAKES = 3
_ROUNDED_SHAKES = 1
# onnxruntime's kernels of these end the process by an assertion, or read wherever in memory their inputs tell them to,
# where attributes or inputs are such as nobody means (1.32.0; random nodes of every operator were tried).
_UNGUARDED = frozenset({
    "DFT", "GridSample", "MaxRoiPool", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike",
    "ReverseSequence", "RoiAlign", "STFT", "Unique",
})  # fmt: skip
_ROUNDOFFS = {
    onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)): unit_roundoff(np.dtype(dtype))
    for dtype in (np.float32, np.float16, ml_dtypes.bfloat16)
}
_TAKEN = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(float16)": np.float16}
_NO_MEMORY = ("Failed to allocate memory", "bad_alloc", "bad allocation")


@dataclass
class Runs:
    """Outputs by sample. A run that failed is absent and its first error is in `failures`.

    `model` is the original and `other` the result, with their random draws as inputs.

    `roundoff` is that of the coarsest type to which a node of the original casts, 0 where none does; `unreached` are
    the parts of the original that no sample reaches; `options` are the caller's for sessions.
    """

    model: onnx.ModelProto
    other: onnx.ModelProto
    samples: list[Feeds] = field(default_factory=list)
    original: dict[str, list[Outputs]] = field(default_factory=dict)
    result: dict[str, list[Outputs]] = field(default_factory=dict)
    shaken: list[list[Outputs]] = field(default_factory=list)
    shaken_rounded: list[list[Outputs]] = field(default_factory=list)
    exact: list[Outputs] | None = None
    no_exact: str = ""
    failures: dict[tuple[str, str], str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    repeatable: bool = True
    roundoff: float = 0.0
    unreached: list[str] = field(default_factory=list)
    options: Any = None


def collect(
    original: onnx.ModelProto,
    result: onnx.ModelProto,
    candidates: Sequence[Ways],
    *,
    seed: int,
    options: Any = None,
) -> Runs:
    """Run all models, one session at a time. `candidates` gives for each sample the feeds to try in turn.

    Args:
        original, result: the models.
        candidates: the ways to draw each sample.
        seed: of random draws.
        options: the caller's options for sessions, or None.

    Raises:
        OnnxNormError: onnxruntime cannot run the original at all.
    """
    suspects = [node for graph in graphs_in(original) for node in graph.node if node.op_type in _UNGUARDED]
    if not suspects or not FORKS:
        return _collect(original, result, candidates, seed, options)

    def answer() -> bytes:
        try:
            # Options cannot be pickled.
            return pickle.dumps(replace(_collect(original, result, candidates, seed, options), options=None))
        except (OnnxNormError, MemoryError) as error:
            return pickle.dumps(error)

    try:
        found = pickle.loads(in_child(answer))
    except BrokenOffError as error:
        node = suspects[0]
        raise OnnxNormError(
            f"onnxruntime ends the process ({error}) when it runs the original, where node {node.name!r} "
            f"({node.op_type}) may be at fault; mend the node, give inputs that it takes, or leave out the verification"
        ) from None
    if isinstance(found, (OnnxNormError, MemoryError)):
        raise found
    runs: Runs = found
    runs.options = options
    return runs


def _collect(
    original: onnx.ModelProto, result: onnx.ModelProto, candidates: Sequence[Ways], seed: int, options: Any
) -> Runs:
    same = with_same_draws(original, result, candidates, seed=seed, options=options)
    original, result, candidates = same.original, same.result, same.candidates
    runs = Runs(model=original, other=result, roundoff=_coarsest_roundoff(original), options=options)
    for level in LEVELS:
        try:
            if runs.samples:
                runs.original[level] = run_all(original, level, runs.samples, options)
            else:
                _first_runs(original, level, candidates, runs)
        except OnnxNormError as error:
            runs.failures["original", level] = str(error)
    if not runs.samples and (has_halves(original) or all(map(lacks_kernel, runs.failures.values()))):
        # onnxruntime has hardly a bfloat16 kernel for processors, and none for the arithmetic of before opset 7.
        _run_rounded_alone(original, result, candidates, runs, seed)
        return runs
    if not runs.samples:
        errors = dict.fromkeys(runs.failures.values())
        raise OnnxNormError(f"onnxruntime cannot run the original: {'; '.join(errors)}")
    for level in runs.original:
        try:
            runs.result[level] = run_all(result, level, runs.samples, options)
        except OnnxNormError as error:
            runs.failures["result", level] = str(error)
    weights = shaken_weights(original)
    for number in range(_SHAKES if weights else 0):
        copy = shake(original, weights, np.random.default_rng([seed, number, 1]))
        if copy is not None:
            # A copy that does not run says nothing of noise.
            with contextlib.suppress(OnnxNormError):
                runs.shaken.append(run_all(copy, next(iter(runs.original)), runs.samples, options))
            _forget(copy, original)
    watch = Watch()
    try:
        evaluator = Float64Evaluator(original, watch)
        runs.exact = [evaluator.run(feeds) for feeds in runs.samples]
    except NoFloat64Error as error:
        runs.no_exact = str(error)
        watch = _watched(original, next(iter(runs.original)), runs.samples, options)
    runs.unreached = watch.unreached
    if runs.exact is not None and has_halves(original):
        _add_rounded(original, result, weights, runs, seed)
    return runs


def _run_rounded_alone(
    original: onnx.ModelProto, result: onnx.ModelProto, candidates: Sequence[Ways], runs: Runs, seed: int
) -> None:
    """Run both models in arithmetic that rounds each result to its type, where onnxruntime does not run the original.

    Raises:
        OnnxNormError: the original does not run so either.
    """
    errors = dict.fromkeys(runs.failures.values())
    kinds = {
        output.name: np.empty(0, onnx.helper.tensor_dtype_to_np_dtype(output.type.tensor_type.elem_type or 1))
        for output in original.graph.output
    }
    watch = Watch()
    try:
        ours, exact = RoundedEvaluator(original, singles=True), Float64Evaluator(original, watch)
        before = []
        for ways in candidates:
            found = _first_rounded(ours, kinds, ways)
            if isinstance(found, NoFloat64Error):
                errors[str(found)] = None
            elif found is not None:
                runs.samples.append(found[0])
                before.append(found[1])
        runs.exact = [exact.run(feeds) for feeds in runs.samples]
    except NoFloat64Error as error:
        raise OnnxNormError(f"onnxruntime cannot run the original: {'; '.join(errors)}; {error}") from error
    if not before:
        raise OnnxNormError(f"onnxruntime cannot run the original: {'; '.join(errors)}")
    runs.unreached = watch.unreached
    runs.original[ROUNDED] = before
    try:
        theirs = RoundedEvaluator(result, singles=True)
        runs.result[ROUNDED] = [theirs.run(feeds, kinds) for feeds in runs.samples]
    except OnnxNormError as error:
        runs.failures["result", ROUNDED] = str(error)
    weights = shaken_weights(original)
    for number in range(_SHAKES if weights else 0):
        copy = shake(original, weights, np.random.default_rng([seed, number, 1]))
        if copy is not None:
            moved = RoundedEvaluator(copy, singles=True)
            runs.shaken_rounded.append([moved.run(feeds, kinds) for feeds in runs.samples])
            _forget(copy, original)


def _first_rounded(
    ours: RoundedEvaluator, kinds: Mapping[str, Any], ways: Ways
) -> tuple[Feeds, Outputs] | NoFloat64Error | None:
    """Return the first feeds that the model takes, with its outputs; where it takes none, why, if known."""
    refused = None
    for draw in ways.draws():
        if draw.refused is None:
            try:
                return draw.feeds, ours.run(draw.feeds, kinds)
            except NoFloat64Error as error:
                refused = error
    return refused


def _add_rounded(
    original: onnx.ModelProto, result: onnx.ModelProto, weights: tuple[str, ...], runs: Runs, seed: int
) -> None:
    """Add the run in which every operator's result is rounded to its type."""
    kinds = next(iter(runs.original.values()))
    try:
        ours, theirs = RoundedEvaluator(original), RoundedEvaluator(result)
        before = [ours.run(*each) for each in zip(runs.samples, kinds, strict=True)]
        after = [theirs.run(*each) for each in zip(runs.samples, kinds, strict=True)]
        for number in range(_ROUNDED_SHAKES):
            copy = shake(original, weights, np.random.default_rng([seed, number, 1]))
            if copy is not None:
                moved = RoundedEvaluator(copy)
                runs.shaken_rounded.append([moved.run(*each) for each in zip(runs.samples, kinds, strict=True)])
    except NoFloat64Error as error:
        runs.notes.append(f"what half precision does at each node was not compared: {error}")
        return
    runs.original[ROUNDED], runs.result[ROUNDED] = before, after


def _watched(original: onnx.ModelProto, level: str, samples: Sequence[Feeds], options: Any) -> Watch:
    """Watch what the samples reach, by the inputs of the main graph's nodes, where there is no float64 run to watch."""
    watch = Watch()
    given = {value.name for value in (*original.graph.input, *original.graph.initializer)}
    made = {name for node in original.graph.node if node.op_type != "Constant" for name in node.output}
    for node in original.graph.node:
        wanted = [name for name in (*node.input[: 2 if node.op_type == "Loop" else 1], node.output[0]) if name in made]
        if node.domain not in ("", "ai.onnx") or node.op_type not in PARTS or not given.union(made) & set(node.input):
            continue
        shown = original
        for name in wanted:
            shown = expose(shown, name)
        with contextlib.suppress(OnnxNormError, MemoryError):
            for feeds, outputs in zip(samples, run_all(shown, level, samples, options), strict=True):
                values = {**feeds, **outputs}
                if all(name in values for name in node.input[:1]):
                    watch.see(node, [values.get(name) for name in node.input], real=is_real(outputs[node.output[0]]))
    return watch


def _coarsest_roundoff(model: onnx.ModelProto) -> float:
    casts = [node for graph in graphs_in(model) for node in graph.node if node.op_type == "Cast"]
    types = {attribute.i for node in casts for attribute in node.attribute if attribute.name == "to"}
    return max((_ROUNDOFFS.get(each, 0.0) for each in types), default=0.0)


def _first_runs(original: onnx.ModelProto, level: str, candidates: Sequence[Ways], runs: Runs) -> None:
    opened = open_session(original, level, runs.options)
    chosen: list[tuple[Feeds, Outputs]] = []
    for ways in candidates:
        refused = ""
        for draw in ways.draws():
            feeds = draw.feeds
            try:
                if draw.refused is not None:
                    raise OnnxNormError(draw.refused)
                outputs = _run(opened, feeds)
            except (OnnxNormError, MemoryError) as error:
                if not draw.is_guess:
                    shapes = ", ".join(f"{name} {value.shape}" for name, value in feeds.items())
                    refused = refused or f"the original does not run with {shapes} ({error})"
                continue
            chosen.append((feeds, outputs))
            if refused:
                shapes = ", ".join(f"{name} {value.shape}" for name, value in feeds.items())
                runs.notes.append(f"{refused}; {shapes} was used instead")
            break
        else:
            if not ways.optional:
                raise OnnxNormError(f"{refused}; give inputs that it takes")
    if not _is_deterministic(original):
        again = _run(opened, chosen[0][0])
        runs.repeatable = all(_alike(again[name], value) for name, value in chosen[0][1].items())
    runs.samples = [feeds for feeds, _ in chosen]
    runs.original[level] = [outputs for _, outputs in chosen]


def _is_deterministic(model: onnx.ModelProto) -> bool:
    """Whether every node is of an operator of ONNX that draws nothing."""
    return all(
        (node.domain in ("", "ai.onnx") and node.op_type not in RANDOM)
        or any((node.domain, node.op_type) == (function.domain, function.name) for function in model.functions)
        for graph in graphs_in(model)
        for node in graph.node
    )


def run_all(model: onnx.ModelProto, level: str, samples: Sequence[Feeds], options: Any = None) -> list[Outputs]:
    """Return the outputs by name for every sample.

    Raises:
        OnnxNormError: onnxruntime refuses the model or one of the samples.
    """
    opened = open_session(model, level, options)
    return [_run(opened, feeds) for feeds in samples]


def expose(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """Return a copy with one more output: the value `name` of the main graph."""
    return exposing(model, [name])


def exposing(model: onnx.ModelProto, names: Iterable[str]) -> onnx.ModelProto:
    """Return a copy with these values of the main graph as further outputs."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    known = {output.name for output in copy.graph.output}
    copy.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names if name not in known)
    return copy


def _run(opened: Any, feeds: Mapping[str, Any]) -> Outputs:
    names = [output.name for output in opened.get_outputs()]
    known = {value.name: value.type for value in (*opened.get_inputs(), *opened.get_overridable_initializers())}
    try:
        given = {name: _as_taken(value, known[name]) for name, value in feeds.items() if name in known}
        return dict(zip(names, opened.run(names, given), strict=True))
    except Exception as error:
        if any(told in str(error) for told in _NO_MEMORY):
            raise MemoryError("not enough memory") from error
        raise OnnxNormError(explain(error)) from error


def _forget(copy: onnx.ModelProto, original: onnx.ModelProto) -> None:
    """Let go of the weights of a copy of the original."""
    tensor = next((tensor for tensor in copy.graph.initializer if is_held(tensor)), None)
    if tensor is not None:
        store_of(tensor).forget(copy, original)


def _as_taken(value: Any, kind: str) -> Any:
    """Return an input in the real type that the model takes: a lossy result may take another than the original."""
    wanted = _TAKEN.get(kind)
    return value.astype(wanted) if wanted is not None and is_real(value) and value.dtype != wanted else value


def _alike(first: Any, second: Any) -> bool:
    """Whether two runs of the same session gave the same up to the order of its sums."""
    if isinstance(first, list):
        return len(first) == len(second) and all(map(_alike, first, second))
    if not isinstance(first, np.ndarray) or first.dtype.kind in "OUS":
        return bool(np.all(first == second))
    one, two = first.astype(np.float64), second.astype(np.float64)
    scale = float(np.max(np.abs(one), initial=0.0, where=np.isfinite(one)))
    return one.shape == two.shape and np.allclose(one, two, rtol=0.01, atol=1e-3 * scale, equal_nan=True)
