"""From a PyTorch module to the exporter's raw graph: what `onnxnorm.export` asks of torch.export and torch.onnx."""

from __future__ import annotations

import contextlib
import inspect
import io
import logging
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import onnx_ir as ir
import torch

from onnxnorm import _export_translate
from onnxnorm._errors import OnnxNormError
from onnxnorm._export_mode import OneNodeMode

__all__ = [
    "SCOPES",
    "Arguments",
    "batch_statistics_users",
    "quiet",
    "reason_of",
    "trace",
    "translate",
    "uses_rms_norm",
]

SCOPES = "pkg.torch.onnx.name_scopes"
"""The exporter's note on a node: "['', 'layer1', 'layer1.0', 'relu']", modules from the root, then the operator."""

aten = torch.ops.aten

_OTHER_EXPORTER = ' (exporter="torchscript" may take it)'


class Arguments:
    """The example inputs of a module by the names of its parameters, and which of their axes stay open."""

    def __init__(
        self,
        module: torch.nn.Module,
        positional: tuple[Any, ...],
        named: dict[str, Any],
        dynamic_shapes: Mapping[str, Any] | Sequence[Any] | None,
    ) -> None:
        try:
            bound = inspect.signature(module.forward).bind(*positional, **named)
        except TypeError as error:
            raise OnnxNormError(f"{type(module).__name__} does not take these args: {error}") from None
        self.by_name: dict[str, Any] = dict(bound.arguments)
        self.positional, self.named = bound.args, bound.kwargs
        self.open_axes = self._by_name(dynamic_shapes)
        self._check_axes()

    def _by_name(self, dynamic_shapes: Mapping[str, Any] | Sequence[Any] | None) -> dict[str, Any] | None:
        names = list(self.by_name)
        if dynamic_shapes is None:
            return None
        if isinstance(dynamic_shapes, Mapping):
            unknown = [str(name) for name in dynamic_shapes if name not in names]
            if unknown:
                raise OnnxNormError(f"dynamic_shapes names {', '.join(unknown)}, but the inputs are {', '.join(names)}")
            return {name: dynamic_shapes.get(name) for name in names}
        if not isinstance(dynamic_shapes, Sequence) or isinstance(dynamic_shapes, str):
            raise OnnxNormError("dynamic_shapes must be a dictionary by input name or a sequence, one entry an input")
        if len(dynamic_shapes) > len(names):
            raise OnnxNormError(f"dynamic_shapes has {len(dynamic_shapes)} entries for {len(names)} inputs")
        return {name: dynamic_shapes[i] if i < len(dynamic_shapes) else None for i, name in enumerate(names)}

    def _check_axes(self) -> None:
        for name, value in self.by_name.items():
            for tensor, spec in _tensors(value, (self.open_axes or {}).get(name)):
                axes = spec if isinstance(spec, Mapping) else range(len(spec or ()))
                wrong = [axis for axis in axes if not isinstance(axis, int) or not 0 <= axis < tensor.ndim]
                if wrong:
                    raise OnnxNormError(
                        f"dynamic_shapes opens axis {wrong[0]!r} of {name}, which has shape {tuple(tensor.shape)}"
                    )

    def axis_names(self) -> list[dict[int, str]]:
        """For each tensor among the inputs, in order, the names that the caller gave to its open axes."""
        specs = self.open_axes or {}
        return [_names_of(spec) for name, value in self.by_name.items() for _, spec in _tensors(value, specs.get(name))]

    def every_axis_name(self) -> list[dict[int, str]]:
        """As `axis_names`, with a name also for axes that the caller opened without one."""
        specs = self.open_axes or {}
        tensors = [entry for name, value in self.by_name.items() for entry in _tensors(value, specs.get(name))]
        names = self.tensor_names()
        return [
            _names_of(spec) | {axis: f"{name}_dim_{axis}" for axis in _open_without_name(spec)}
            for name, (_, spec) in zip(names, tensors, strict=True)
        ]

    def tensor_names(self) -> list[str]:
        """A name for each tensor among the inputs: that of its parameter, with its place where it holds several."""
        names = []
        for name, value in self.by_name.items():
            count = sum(1 for _ in _tensors(value, None))
            names += [name] if isinstance(value, torch.Tensor) else [f"{name}_{i}" for i in range(count)]
        return names


def _tensors(value: Any, spec: Any) -> Iterator[tuple[torch.Tensor, Any]]:
    """The tensors among nested inputs, each with its part of dynamic_shapes."""
    if isinstance(value, torch.Tensor):
        if not isinstance(spec, (Mapping, list, tuple, type(None))):
            raise OnnxNormError(f"dynamic_shapes has {spec!r} where a dictionary from axis to name belongs")
        yield value, spec
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _tensors(item, spec.get(key) if isinstance(spec, Mapping) else None)
    elif isinstance(value, (list, tuple)):
        for i, item in enumerate(value):
            yield from _tensors(item, spec[i] if isinstance(spec, (list, tuple)) and i < len(spec) else None)


def _names_of(spec: Any) -> dict[int, str]:
    entries = spec.items() if isinstance(spec, Mapping) else enumerate(spec or ())
    names = {axis: dim if isinstance(dim, str) else getattr(dim, "__name__", None) for axis, dim in entries}
    return {axis: name for axis, name in names.items() if isinstance(axis, int) and name is not None}


def _open_without_name(spec: Any) -> list[int]:
    entries = spec.items() if isinstance(spec, Mapping) else enumerate(spec or ())
    hints = (torch.export.Dim.AUTO, torch.export.Dim.DYNAMIC)
    return [axis for axis, dim in entries if any(type(dim) is type(h) and dim.type == h.type for h in hints)]


def _with_hints(spec: Any) -> Any:
    """Named axes become torch's hint for an open axis; all else is torch's own notation.

    A plain `Dim` would forbid what the hint allows, such as an axis whose length must not be 1.
    """
    if isinstance(spec, str):
        return torch.export.Dim.DYNAMIC
    if isinstance(spec, torch.export.Dim) and not hasattr(spec, "root"):
        return torch.export.Dim.DYNAMIC(min=spec.min, max=spec.max)
    if isinstance(spec, Mapping):
        return {key: _with_hints(value) for key, value in spec.items()}
    if isinstance(spec, (list, tuple)):
        return type(spec)(_with_hints(value) for value in spec)
    return spec


def trace(module: torch.nn.Module, arguments: Arguments) -> torch.export.ExportedProgram:
    """The module as one graph of ATen operators, its local response normalizations already single nodes."""
    fused_attention = torch.backends.mha.get_fastpath_enabled()
    # The fused operators of attention, taken where no gradient is wanted, have no ONNX form.
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad(), OneNodeMode(), _lengths_of_one_may_vary():
            return torch.export.export(
                module,
                arguments.positional,
                kwargs=arguments.named or None,
                dynamic_shapes=_with_hints(arguments.open_axes),
                strict=False,
            )
    except OnnxNormError:
        raise
    except Exception as error:
        raise OnnxNormError(
            f"torch.export cannot trace {type(module).__name__}: {reason_of(error)}{_OTHER_EXPORTER}"
        ) from error
    finally:
        torch.backends.mha.set_fastpath_enabled(fused_attention)


def _lengths_of_one_may_vary() -> contextlib.AbstractContextManager[Any]:
    """What torch's own exporter sets too: an open axis may have length 1 in the example."""
    config = getattr(torch.fx.experimental, "_config", None)
    if config is None or not hasattr(config, "backed_size_oblivious"):
        return contextlib.nullcontext()
    return config.patch(backed_size_oblivious=True)  # type: ignore[no-any-return]


def translate(program: torch.export.ExportedProgram, opset: int, arguments: Arguments, name: str) -> ir.Model:
    """The graph in ONNX operators, not cleaned, nothing folded; open axes named as the caller named them."""
    try:
        with torch.no_grad():
            exported = torch.onnx.export(
                program,
                opset_version=opset,
                custom_translation_table=_export_translate.translations(opset),
                optimize=False,
                verbose=False,
                dynamo=True,
            )
    except Exception as error:
        raise OnnxNormError(f"{name} has no ONNX form: {reason_of(error)}{_OTHER_EXPORTER}") from error
    assert exported is not None
    model = exported.model
    inputs, names = list(model.graph.inputs), arguments.axis_names()
    if len(inputs) == len(names):
        exported.rename_axes(_dimension_names(inputs, names))
    return model


def _dimension_names(inputs: Sequence[ir.Value], names: Sequence[dict[int, str]]) -> dict[str | ir.SymbolicDim, str]:
    renamed: dict[str | ir.SymbolicDim, str] = {}
    for given in (True, False):  # names that the caller gave come first
        for value, axes in zip(inputs, names, strict=True):
            for axis, dim in enumerate(value.shape or ()):
                symbol = dim.value if isinstance(dim, ir.SymbolicDim) else None
                if (
                    symbol is not None
                    and re.fullmatch(r"[su]\d+", symbol)
                    and symbol not in renamed
                    and (axis in axes) is given
                ):
                    renamed[symbol] = axes.get(axis, f"{value.name}_dim_{axis}")
    return renamed


def uses_rms_norm(program: torch.export.ExportedProgram) -> bool:
    """Whether some normalization is an RMSNorm."""
    return any(node.target is aten.rms_norm.default for node in _nodes(program))


def batch_statistics_users(program: torch.export.ExportedProgram) -> list[str]:
    """The modules whose batch normalization uses the statistics of the batch, by path."""
    return [
        _module_path(node)
        for node in _nodes(program)
        if node.target is aten.batch_norm.default and len(node.args) > 5 and node.args[5] is True
    ]


def _nodes(program: torch.export.ExportedProgram) -> Iterator[torch.fx.Node]:
    for module in program.graph_module.modules():
        if isinstance(module, torch.fx.GraphModule):
            yield from module.graph.nodes


def _module_path(node: torch.fx.Node) -> str:
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    path = str(stack[-1][0]) if stack else ""
    return re.sub(r"^L\['self'\]\.?", "", path) or node.name


def reason_of(error: BaseException) -> str:
    """The innermost cause, its first paragraph in one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    paragraph = re.split(r"\n\s*\n", str(error).strip())[0]
    return (" ".join(paragraph.split()) or type(error).__name__)[:600]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the exporters' prints, logs and deprecations to themselves; what concerns the user is raised or warned."""
    disabled = logging.root.manager.disable
    sink = io.StringIO()
    with warnings.catch_warnings(), contextlib.redirect_stdout(sink), contextlib.redirect_stderr(sink):
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        try:
            yield
        finally:
            logging.disable(disabled)
