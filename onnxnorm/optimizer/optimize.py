"""Holds `optimize` and `fold`: a model in, a copy of it transformed by passes out, with an account of what was done."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypedDict, overload

import onnx
import onnx_ir as ir

from onnxnorm.errors import OnnxNormError, UnprovedError, naming
from onnxnorm.graph.size_budget import DEFAULT_MAX_GROWTH
from onnxnorm.io.model_source import ModelSource
from onnxnorm.model.source import CarriesModel, ModelLike
from onnxnorm.optimizer.accounted import accounted
from onnxnorm.optimizer.bias_corrected import bias_corrected, check_samples
from onnxnorm.optimizer.fast_path import folded
from onnxnorm.optimizer.fixed_shapes import source_of
from onnxnorm.optimizer.for_runtime import target_for
from onnxnorm.optimizer.original import Original
from onnxnorm.optimizer.own_passes import PassLike, names_of
from onnxnorm.optimizer.preparation import Half, equalization_of, equalized, in_half, with_preprocessing
from onnxnorm.optimizer.proved import without_disproved
from onnxnorm.optimizer.provenance import provenance as facts_of
from onnxnorm.optimizer.provenance import sign
from onnxnorm.optimizer.records import absorbed
from onnxnorm.optimizer.result import OptimizeResult
from onnxnorm.optimizer.transform import check_choices
from onnxnorm.passes import DEFAULT, FOLDING, Decline, Rewrite
from onnxnorm.prepare.preprocessing import Preprocessing
from onnxnorm.validate.arguments import check_flags, check_path, check_session_options
from onnxnorm.validate.choices import TARGET_NAMES
from onnxnorm.validate.runtimes import runtime_named

if TYPE_CHECKING:
    import onnxruntime  # type: ignore[import-untyped]
    from typing_extensions import Unpack

    from onnxnorm.passes import Equalization
    from onnxnorm.runtime.inputs import GivenInputs
    from onnxnorm.verification.verify import VerifyReport

__all__ = ["TARGETS", "Decline", "OptimizeResult", "Rewrite", "fold", "optimize"]

TARGETS: tuple[str, ...] = TARGET_NAMES


class OptimizeOptions(TypedDict, total=False):
    """The options of `optimize`, for type checkers; what they mean stands there."""

    passes: Sequence[PassLike] | None
    target: str
    verify: bool
    freeze_inputs: bool | None
    workspace: str | os.PathLike[str] | None
    opset: int | None
    runtime: str | None
    max_growth: float
    fix_shapes: Mapping[str, Sequence[int | str]] | None
    keep: Sequence[str]
    normalize_input: Mapping[str, Any] | None
    input_layout: str | None
    input_dtype: str | None
    swap_rb: bool
    session_options: onnxruntime.SessionOptions | None
    dtype: str | None
    keep_io_types: bool
    prepare: str | Equalization | None
    calibration: GivenInputs | None
    provenance: bool


# A type checker without stubs of protobuf takes a message for anything, so that it comes first.
@overload
def optimize(
    model: str | os.PathLike[str] | onnx.ModelProto | CarriesModel[onnx.ModelProto],
    **options: Unpack[OptimizeOptions],
) -> OptimizeResult[onnx.ModelProto]: ...


@overload
def optimize(
    model: ir.Model | CarriesModel[ir.Model], **options: Unpack[OptimizeOptions]
) -> OptimizeResult[ir.Model]: ...


def optimize(
    model: ModelLike,
    *,
    passes: Sequence[PassLike] | None = None,
    target: str = "portable",
    verify: bool = True,
    freeze_inputs: bool | None = None,
    workspace: str | os.PathLike[str] | None = None,
    opset: int | None = None,
    runtime: str | None = None,
    max_growth: float = DEFAULT_MAX_GROWTH,
    fix_shapes: Mapping[str, Sequence[int | str]] | None = None,
    keep: Sequence[str] = (),
    normalize_input: Mapping[str, Any] | None = None,
    input_layout: str | None = None,
    input_dtype: str | None = None,
    swap_rb: bool = False,
    session_options: onnxruntime.SessionOptions | None = None,
    dtype: str | None = None,
    keep_io_types: bool = False,
    prepare: str | Equalization | None = None,
    calibration: GivenInputs | None = None,
    provenance: bool = True,
) -> OptimizeResult:
    """Transform a model into a faster one that computes the same.

    Args:
        model: a path, a `ModelProto`, an `onnx_ir.Model`, or what carries one, such as another result; never changed.
        passes: what to run, in this order: names of passes, passes of onnx-ir, rewrite rule sets of onnxscript, and
            `...` for those that run by default, `onnxnorm.passes.DEFAULT`. What `infer_shapes` finds is written where
            it is the last of them. A pass may run more than once, each time on the original as it was.
        target: what the result is to run on, one of `TARGETS`.
        verify: prove the result against the original with `onnxnorm.verify`, as the command line does; False leaves
            it unproved.
        freeze_inputs: take initializers that a caller could override (they are inputs too) for constants; by default
            where an exporter listed all its weights out of habit, which `OptimizeResult.notes` then says.
        workspace: a folder for new weights that are too many for memory; by default that for temporary files.
        opset: convert the model to this opset first, so that normalizations become the nodes that it has:
            LayerNormalization from 17 on, GroupNormalization 21, RMSNormalization 23; newer ones are written out.
        runtime: what has to read the result, by name and version (`"onnxruntime==1.16"`): opset and IR version are
            those that it reads, and the target is its own where none but the default is given.
        max_growth: by which part the weights may grow in bytes, where folding into a weight that several nodes read
            stores it a second time.
        fix_shapes: for inputs whose extents the model leaves open the shapes that they will have, such as
            `{"x": ("N", 3, 224, 224)}`; the result takes no others.
        keep: names of nodes to leave alone, or patterns (`"head.*"`), which mean the normalizations that match, and
            other nodes where none does; with `dtype` all that match stay in float32.
        normalize_input: the result takes images before they are normalized, and does that itself:
            (x * scale - mean) / std, with `{"mean": ..., "std": ..., "scale": 1 / 255}`, numbers or one for each
            channel, and `"input"` where a model has several images. It is folded into the operators that follow.
        input_layout: the order of the axes of the image that the result takes, such as "NHWC".
        input_dtype: the type of the image that the result takes, such as "uint8".
        swap_rb: whether the result takes images with their channels in reverse order (BGR for a model of RGB).
        session_options: the options of the sessions that verify, such as with libraries of custom operators registered.
        dtype: "float16" or "bfloat16": what may computes in that type in the result. It is folded and proved first;
            `notes` lists what stays in float32, and what rounding costs.
        keep_io_types: leave the inputs and outputs in their types, where `dtype` is given.
        prepare: "int8", or a `passes.Equalization`: channels are scaled so that quantizing the result loses less, by
            factors that cancel out exactly; branches stay apart whose sum would be rounded worse as one weight.
        calibration: samples of inputs, as `verify` takes them, for the sizes of activations: with `prepare` these are
            made even as well, with `dtype` it is seen which of them would overflow. With
            `passes.Equalization(correct_biases="tensor")`, or `"channel"`, biases make up for the mean error of int8
            weights, which changes the float model after its proof; `notes` say by how much.
        provenance: write into the metadata of the result what made it: version, passes, target, whether it is verified
            and with which error; `onnxnorm inspect` shows it.

    Returns:
        An `OptimizeResult`: `.model` is the new model, in the form that came in (a `ModelProto` for a path), `.save`
        writes it, `.rewrites` says what was done, `.declined` has a reason for every normalization that is left, and
        `.notes` what was decided for the caller; `.report` is the report of the verification.

    Raises:
        OnnxNormError: the model cannot be read or converted, a pass, target or runtime is unknown, the runtime cannot
            read what the model holds, or the result failed verification, or cannot be verified.
    """
    names = names_of(passes)
    check_choices(names, target, max_growth)
    check_flags(verify=verify, freeze_inputs=freeze_inputs, provenance=provenance, swap_rb=swap_rb)
    check_session_options("session_options", session_options)
    if workspace is not None:
        check_path("workspace", workspace)
    wanted = None if runtime is None else runtime_named(runtime)
    target = target_for(wanted, target)
    preprocessing = Preprocessing.of(normalize_input, input_layout, input_dtype, swap_rb)
    half, equalization = Half.of(dtype, keep_io_types, keep), equalization_of(prepare)
    if calibration is not None and half is None and equalization is None:
        raise OnnxNormError("calibration shows how large activations become: give prepare or dtype as well")
    check_samples(equalization, calibration)
    original = Original.of(model)
    source = with_preprocessing(source_of(model, fix_shapes), preprocessing)
    ran = None if names == DEFAULT else names
    chosen = ran not in (None, FOLDING) or any(each is not None for each in (opset, wanted, equalization))
    plain = None if chosen or keep or fix_shapes else _plainly(source)
    if plain is not None:
        report = _proof_of(source, plain, session_options) if verify else None
        if report is None or report.passed:
            result = replace(plain, report=report, _source=original)
            if provenance:
                sign(result.held, facts_of(ran, target, report))
            return in_half(result, half, source.name, inputs=calibration, judge=verify)
    loaded: list[ir.Model] = [source.graph()]
    if verify:
        from onnxnorm.verification.memory_needed import check_room

        with _unproved():
            check_room(loaded[0], source.name)

    def run(names: Sequence[str], kept: Collection[str]) -> OptimizeResult:
        result, records = accounted(
            loaded.pop() if loaded else source.graph(),
            told_shapes=True,
            passes=names,
            target=target,
            freeze_inputs=freeze_inputs,
            workspace=workspace,
            opset=opset,
            runtime=wanted,
            max_growth=max_growth,
            keep=keep,
            name=source.name,
            as_ir=_gives_ir(model),
            kept=kept,
            for_int8=equalization is not None,
        )
        result = equalized(result, equalization, source.name, target=target, calibration=calibration)
        return replace(result, normalizations=records)

    def prove(result: OptimizeResult) -> VerifyReport:
        return _proof_of(source, result, session_options)

    result, report, notes = without_disproved(
        run, prove if verify else None, lambda result: result.rewrites, names, source.graph
    )
    if report is not None and not report.passed:
        raise OnnxNormError(
            f"{source.name}: the result failed verification: {report}; please report it together with the model"
        )
    result = replace(result, notes=result.notes + notes, report=report, _source=original)
    result, corrected = bias_corrected(result, equalization, source.name, calibration=calibration)
    if provenance:
        sign(result.held, facts_of(ran, target, report, corrected=corrected))
    return in_half(result, half, source.name, inputs=calibration, judge=verify)


def _plainly(source: ModelSource) -> OptimizeResult | None:
    """Take the fast path, for a plain network; None for any other model."""
    done = None if source.message is None else folded(source.message)
    return None if done is None else OptimizeResult(done[1], (), done[0], False, normalizations=absorbed(done[1]))


def _gives_ir(model: ModelLike) -> bool:
    """Whether the result is an `onnx_ir.Model`, as what came in is or carries."""
    if isinstance(model, OptimizeResult):
        return model._as_ir
    return isinstance(getattr(model, "model", model), ir.Model)


class FoldOptions(TypedDict, total=False):
    """The options of `fold`, for type checkers."""

    verify: bool
    freeze_inputs: bool | None
    provenance: bool
    session_options: onnxruntime.SessionOptions | None


@overload
def fold(
    model: str | os.PathLike[str] | onnx.ModelProto | CarriesModel[onnx.ModelProto], **options: Unpack[FoldOptions]
) -> OptimizeResult[onnx.ModelProto]: ...


@overload
def fold(model: ir.Model | CarriesModel[ir.Model], **options: Unpack[FoldOptions]) -> OptimizeResult[ir.Model]: ...


def fold(
    model: ModelLike,
    *,
    verify: bool = True,
    freeze_inputs: bool | None = None,
    provenance: bool = True,
    session_options: onnxruntime.SessionOptions | None = None,
) -> OptimizeResult:
    """Run the folding passes alone: affines move and are absorbed, nothing else changes.

    Args:
        model: as for `optimize`; never changed.
        verify: prove the result against the original with `onnxnorm.verify`; False leaves it unproved.
        freeze_inputs, provenance, session_options: as for `optimize`.

    Returns:
        The result as `optimize` returns it.

    Raises:
        OnnxNormError: the model cannot be read, or the result failed verification, or cannot be verified.
    """
    return optimize(
        model,
        passes=FOLDING,
        verify=verify,
        freeze_inputs=freeze_inputs,
        provenance=provenance,
        session_options=session_options,
    )


@contextlib.contextmanager
def _unproved() -> Iterator[None]:
    """Add to an error of the verification how to do without it."""
    try:
        yield
    except OnnxNormError as error:
        raise UnprovedError(f"{error}; verify=False gives the result unproved", str(error)) from error


def _proof_of(source: ModelSource, result: OptimizeResult, options: onnxruntime.SessionOptions | None) -> VerifyReport:
    from onnxnorm.verification.verify import verify_source

    with _unproved(), naming(source.name):
        return verify_source(source, result.held, session_options=options, is_checked=True)
