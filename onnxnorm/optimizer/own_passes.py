"""Lets passes of the caller run among those of this project: passes of onnx-ir and rewrite rules of onnxscript."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import EllipsisType
from typing import Any, Protocol, TypeAlias

import onnx_ir as ir

from onnxnorm.errors import OnnxNormError, first_line
from onnxnorm.graph.shapes import infer_shapes
from onnxnorm.journal import Journal
from onnxnorm.model.names import name_nodes
from onnxnorm.model.walk import graphs_of
from onnxnorm.passes import DEFAULT

__all__ = ["OwnPass", "PassLike", "RuleSet", "names_of", "run_own_pass"]


class RuleSet(Protocol):
    """Rules that rewrite a model in place, such as onnxscript's `RewriteRuleSet`."""

    def apply_to_model(self, model: ir.Model) -> int:
        """Rewrite the model; return how often a rule was applied."""


PassLike: TypeAlias = "str | ir.passes.PassBase | RuleSet | EllipsisType"


class OwnPass(str):
    """The name of a pass of the caller in a pipeline, which carries the pass."""

    step: ir.passes.PassBase | RuleSet

    @classmethod
    def of(cls, step: ir.passes.PassBase | RuleSet, name: str) -> OwnPass:
        """Make the name of a pass."""
        made = cls(name)
        made.step = step
        return made


def names_of(passes: Sequence[PassLike] | None) -> tuple[str, ...]:
    """Return the names of the passes of a pipeline; those of the caller are instances of `OwnPass`.

    Args:
        passes: names, passes and sets of rules; `...` stands for the passes of `DEFAULT`, and so does None.

    Raises:
        OnnxNormError: something is none of these.
    """
    if passes is None:
        return DEFAULT
    if isinstance(passes, (str, ir.passes.PassBase)) or not isinstance(passes, Iterable):
        raise OnnxNormError(f"passes is a list, such as [{passes if isinstance(passes, str) else '...'!r}]")
    names: list[str] = []
    for each in passes:
        if each is ...:
            names += DEFAULT
        elif isinstance(each, str):
            names.append(each)
        elif isinstance(each, ir.passes.PassBase) or callable(getattr(each, "apply_to_model", None)):
            names.append(OwnPass.of(each, _unused(type(each).__name__, names)))
        else:
            raise OnnxNormError(
                f"a pass is a name, an onnx_ir pass, a RewriteRuleSet or ..., not {_told(each)}; there are the names "
                f"{', '.join(dict.fromkeys(DEFAULT))}"
            )
    return tuple(names)


def run_own_pass(own: OwnPass, model: ir.Model, journal: Journal, name: str) -> ir.Model:
    """Run a pass of the caller, and write down which nodes are gone; return the model that it made.

    Raises:
        OnnxNormError: the pass broke off; the error that it raised is the cause.
    """
    before = {node: node.op_type for graph in graphs_of(model) for node in graph}
    meta = dict(model.meta)
    try:
        modified, after = _called(own.step, model)
    except OnnxNormError:
        raise
    except Exception as error:
        cause = error.__cause__ if isinstance(error, ir.passes.PassError) and error.__cause__ else error
        raise OnnxNormError(
            f"{name}: the pass {str(own)!r} failed ({type(cause).__name__}: {first_line(cause)})"
        ) from cause
    if not modified and after is model:
        return model
    name_nodes(graphs_of(after))
    after.meta.update({key: value for key, value in meta.items() if key not in after.meta})
    infer_shapes(after)
    present = {node for graph in graphs_of(after) for node in graph}
    names = {node.name or "": node for node in present}
    for node, op_type in before.items():
        if (node not in present) if after is model else ((node.name or "") not in names):
            journal.rewrite(own, node, op_type, f"taken out by the pass {str(own)!r}")
    journal.begin_anew(None if after is model else names)
    return after


def _called(step: ir.passes.PassBase | RuleSet, model: ir.Model) -> tuple[bool, ir.Model]:
    if isinstance(step, ir.passes.PassBase):
        result = step(model)
        return result.modified, result.model
    return bool(step.apply_to_model(model)), model


def _unused(name: str, taken: Sequence[str]) -> str:
    number, wanted = 1, name
    while wanted in taken:
        number += 1
        wanted = f"{name}#{number}"
    return wanted


def _told(value: Any) -> str:
    return f"the class {value.__name__}: write {value.__name__}()" if isinstance(value, type) else repr(value)
