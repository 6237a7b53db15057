"""Runs both models in the ways in which `verify` compares them."""

from __future__ import annotations

import contextlib
import pickle
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import ml_dtypes
import numpy as np
import onnx

from onnxnorm.errors import OnnxNormError
from onnxnorm.evaluate.evaluator import Float64Evaluator, NoFloat64Error
from onnxnorm.evaluate.operators import is_real
from onnxnorm.evaluate.rounded import has_halves
from onnxnorm.evaluate.watch import PARTS, Watch
from onnxnorm.model.domains import STANDARD_DOMAINS
from onnxnorm.model.protobuf import graphs_in
from onnxnorm.process.child import FORKS, BrokenOffError, in_child
from onnxnorm.runtime.inputs import Feeds
from onnxnorm.runtime.random_samples import Ways
from onnxnorm.runtime.unoptimized import LEVELS, NoKernelError, open_session
from onnxnorm.verification.accuracy import unit_roundoff
from onnxnorm.verification.drawn_samples import DrawnSample
from onnxnorm.verification.kernel_errors import kernel_errors
from onnxnorm.verification.random_draws import RANDOM, with_same_draws
from onnxnorm.verification.rounded_runs import add_rounded, run_rounded_alone
from onnxnorm.verification.rounding_noise import shaken_weights
from onnxnorm.verification.runs import Opening, Outputs, Runs, expose, run_all, run_once
from onnxnorm.verification.shaken_runs import SHAKES, add_noise
from onnxnorm.verification.survivable import Survivable, unguarded_nodes

__all__ = ["collect"]

_MOST_FATAL = 16
"""Number of ways to fill the inputs that may end the process, before it is given up."""
_ROUNDOFFS = {
    onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)): unit_roundoff(np.dtype(dtype))
    for dtype in (np.float32, np.float16, ml_dtypes.bfloat16)
}


def collect(
    original: onnx.ModelProto,
    result: onnx.ModelProto,
    candidates: Sequence[Ways],
    *,
    seed: int,
    options: Any = None,
    opening: Opening = open_session,
    keeps_evaluator: bool = False,
) -> Runs:
    """Run both models, one session at a time; further runs of the original are left to the judgement.

    Args:
        original, result: the models.
        candidates: for each sample the feeds to try in turn.
        seed: of random draws.
        options: the caller's options for sessions, or None.
        opening: makes the sessions.
        keeps_evaluator: whether the runs keep the evaluator, and with it weights in float64.

    Raises:
        OnnxNormError: onnxruntime cannot run the original at all.
    """
    suspects = unguarded_nodes(original)
    if not suspects or not FORKS:
        return _collect(original, result, candidates, seed, options, opening, keeps_evaluator)

    def answer(ways: Sequence[Ways]) -> bytes:
        try:
            # Neither options nor sessions can be pickled.
            runs = _collect(original, result, ways, seed, options, open_session, False)
            while add_noise(runs, seed):
                pass
            return pickle.dumps(replace(runs, options=None))
        except (OnnxNormError, MemoryError) as error:
            return pickle.dumps(error)

    ended: BrokenOffError | None = None
    found: Any = None
    survivable = Survivable(candidates)
    for _ in range(_MOST_FATAL + 1):
        try:
            found = pickle.loads(in_child(partial(answer, survivable.ways())))
            break
        except BrokenOffError as error:
            ended = ended or error
            if not survivable.drop_last():
                break
    if ended is not None and not isinstance(found, Runs):
        node = suspects[0]
        raise OnnxNormError(
            f"onnxruntime ends the process ({ended}) when it runs the original, where node {node.name!r} "
            f"({node.op_type}) may be at fault; mend the node, give inputs that it takes, or leave out the verification"
        )
    if isinstance(found, (OnnxNormError, MemoryError)):
        raise found
    runs: Runs = found
    runs.options = options
    if ended is not None:
        shapes = ", ".join(f"{name} {value.shape}" for name, value in runs.samples[0].items())
        runs.notes.append(f"onnxruntime ends the process ({ended}) with other inputs than {shapes} and its like")
    return runs


def _collect(
    original: onnx.ModelProto,
    result: onnx.ModelProto,
    candidates: Sequence[Ways],
    seed: int,
    options: Any,
    opening: Opening,
    keeps_evaluator: bool,
) -> Runs:
    same = with_same_draws(original, result, candidates, seed=seed, options=options)
    original, result, candidates = same.original, same.result, same.candidates
    runs = Runs(
        model=original,
        other=result,
        roundoff=_coarsest_roundoff(original),
        kernel_errors=kernel_errors(original),
        options=options,
        opening=opening,
    )
    for level in LEVELS:
        try:
            if runs.samples:
                # It may turn out to be of no need.
                runs.postponed.append(level)
            else:
                _first_runs(original, level, candidates, runs)
        except OnnxNormError as error:
            runs.failures["original", level] = error
    only_kernels = all(isinstance(error, NoKernelError) for error in runs.failures.values())
    if not runs.samples and (has_halves(original) or only_kernels):
        # onnxruntime has hardly a bfloat16 kernel for processors, and none for the arithmetic of before opset 7.
        run_rounded_alone(original, result, candidates, runs, seed)
        return runs
    if not runs.samples:
        errors = dict.fromkeys(map(str, runs.failures.values()))
        raise OnnxNormError(f"onnxruntime cannot run the original: {'; '.join(errors)}")
    for level in [*runs.original, *runs.postponed]:
        try:
            runs.result[level] = run_all(result, level, runs.samples, options, opening)
        except OnnxNormError as error:
            # Where the original does not run either, nobody asks it of the result.
            if level in runs.original or (add_noise(runs, seed) and level in runs.original):
                runs.failures["result", level] = error
    runs.shakes = SHAKES
    watch = Watch()
    try:
        evaluator = Float64Evaluator(original, watch)
        runs.exact = [evaluator.run(feeds) for feeds in runs.samples]
        runs.evaluator = evaluator if keeps_evaluator else None
    except NoFloat64Error as error:
        runs.no_exact = str(error)
        watch = _watched(original, next(iter(runs.original)), runs.samples, options)
    runs.unreached = watch.unreached
    if runs.exact is not None and has_halves(original):
        add_rounded(original, result, shaken_weights(original), runs, seed)
    return runs


def _watched(original: onnx.ModelProto, level: str, samples: Sequence[Feeds], options: Any) -> Watch:
    """Watch what the samples reach, by the inputs of the main graph's nodes, where there is no float64 run to watch."""
    watch = Watch()
    given = {value.name for value in (*original.graph.input, *original.graph.initializer)}
    made = {name for node in original.graph.node if node.op_type != "Constant" for name in node.output}
    for node in original.graph.node:
        wanted = [name for name in (*node.input[: 2 if node.op_type == "Loop" else 1], node.output[0]) if name in made]
        if node.domain not in STANDARD_DOMAINS or node.op_type not in PARTS or not given.union(made) & set(node.input):
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
    """Add the run of the original on the first inputs that it accepts of each sample, and these inputs."""
    opened = runs.opening(original, level, runs.options)
    chosen: list[tuple[Feeds, Outputs]] = []
    for ways in candidates:
        sample = DrawnSample(ways)
        accepted = sample.first_run(partial(run_once, opened))
        if accepted is not None:
            chosen.append(accepted)
        if sample.note:
            runs.notes.append(sample.note)
    if not _is_deterministic(original):
        again = run_once(opened, chosen[0][0])
        runs.repeatable = all(_alike(again[name], value) for name, value in chosen[0][1].items())
    runs.samples = [feeds for feeds, _ in chosen]
    runs.original[level] = [outputs for _, outputs in chosen]


def _is_deterministic(model: onnx.ModelProto) -> bool:
    """Whether every node is of an operator of ONNX that draws nothing."""
    return all(
        (node.domain in STANDARD_DOMAINS and node.op_type not in RANDOM)
        or any((node.domain, node.op_type) == (function.domain, function.name) for function in model.functions)
        for graph in graphs_in(model)
        for node in graph.node
    )


def _alike(first: Any, second: Any) -> bool:
    """Whether two runs of the same session gave the same up to the order of its sums."""
    if isinstance(first, list):
        return len(first) == len(second) and all(map(_alike, first, second))
    if not isinstance(first, np.ndarray) or first.dtype.kind in "OUS":
        return bool(np.all(first == second))
    one, two = first.astype(np.float64), second.astype(np.float64)
    scale = float(np.max(np.abs(one), initial=0.0, where=np.isfinite(one)))
    return one.shape == two.shape and np.allclose(one, two, rtol=0.01, atol=1e-3 * scale, equal_nan=True)
