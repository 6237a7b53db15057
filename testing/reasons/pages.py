"""Makes the pages of docs/reasons/ from the codes and their examples."""

from __future__ import annotations

import ast
import contextlib
import inspect
import itertools
import os
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import onnx

import onnxnorm
from onnxnorm import rules
from onnxnorm.cli.reasons import PAGES
from onnxnorm.journal import Code, reasons
from onnxnorm.journal.reasons import ADVICE
from onnxnorm.optimizer.records import NormRecord
from testing.reasons.examples import EXAMPLES, OPERATOR, Example

__all__ = ["FOLDER", "PACKAGED", "index", "packaged", "page_of", "pages", "records_of"]

_ROOT = Path(__file__).resolve().parents[2]
FOLDER = _ROOT / "docs" / "reasons"
PACKAGED = _ROOT / "onnxnorm" / "cli" / PAGES
"""The file of the package that has all pages, for `onnxnorm reasons`."""
_MOST_NODES = 14


def records_of(code: Code) -> tuple[NormRecord, NormRecord]:
    """Optimize the model of a code's example, and the one with the remedy; return what became of the normalization."""
    example = EXAMPLES[code]
    before, after = _record_of(example, done=False), _record_of(example, done=True)
    assert before is not None and after is not None, code
    return before, after


def _record_of(example: Example, *, done: bool) -> NormRecord | None:
    options = example.remedied if done else example.options
    with _registered(example, done=done):
        records = onnxnorm.optimize(example.build(done), verify=example.rule is not None, **options).normalizations
    # One that is written out may have another name than its last node.
    return next((record for record in records if record.node == "norm"), records[0] if records else None)


@contextlib.contextmanager
def _registered(example: Example, *, done: bool) -> Iterator[None]:
    """Have the rule of the example registered, and rewrites left out that fail their proof, as users have it."""
    if example.rule is None:
        yield
        return
    rules.register(*OPERATOR, example.rule(done))
    try:
        with mock.patch.dict(os.environ, {"ONNXNORM_DEBUG": "0"}):
            yield
    finally:
        rules.unregister(*OPERATOR)


def pages() -> dict[str, str]:
    """Return the text of each page by its file name."""
    return {"README.md": index(), **{f"{code.value}.md": page_of(code, records_of(code)) for code in Code}}


def packaged(pages: Mapping[str, str]) -> str:
    """Return the text of the one file that the package has, made of the pages by their file names."""
    return "\n".join(pages[f"{code.value}.md"] for code in Code)


def index() -> str:
    """Return the text of the page that lists all codes."""
    return "\n".join(_index(_meanings())) + "\n"


def page_of(code: Code, records: tuple[NormRecord, NormRecord]) -> str:
    """Return the text of the page of a code, whose example has the records that `records_of` returns."""
    return "\n".join(_page(code, _meanings()[code], records)) + "\n"


@cache
def _meanings() -> dict[Code, str]:
    """Return the docstring of each code."""
    tree = ast.parse(inspect.getsource(reasons))
    (body,) = [node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Code"]
    found: dict[Code, str] = {}
    for entry, text in itertools.pairwise(body):
        match entry, text:
            case ast.Assign(targets=[ast.Name(id=name)]), ast.Expr(value=ast.Constant(value=str(meaning))):
                found[Code[name]] = meaning
    return found


def _index(meanings: Mapping[Code, str]) -> Iterator[str]:
    yield "# Why a normalization is left"
    yield ""
    yield "Each reason has a stable code, which `onnxnorm inspect`, `--json`, `result.declined` and"
    yield "`result.normalizations` give. A page explains each, with an example whose remedy a test carries out."
    yield "`python -m testing.reasons` makes the pages."
    yield ""
    yield "| code | meaning |"
    yield "|---|---|"
    for code in Code:
        yield f"| [{code.value}]({code.value}.md) | {meanings[code]} |"


def _page(code: Code, meaning: str, records: tuple[NormRecord, NormRecord]) -> Iterator[str]:
    yield f"# {code.value}"
    yield ""
    yield meaning
    yield ""
    yield f"What helps: {ADVICE[code]}."
    yield ""
    example, (before, after) = EXAMPLES[code], records
    yield "## Example"
    yield ""
    if example.about:
        yield example.about
        yield ""
    yield from _listing(example.build(False), example.options)
    yield ""
    yield f"The fate of the normalization is *{before.fate.value}*, for this reason:"
    yield ""
    yield f"> {before.reason}"
    yield ""
    yield "## The same with the remedy"
    yield ""
    yield example.remedy
    yield ""
    yield from _listing(example.build(True), example.remedied)
    yield ""
    yield f"Its fate is *{after.fate.value}* then: {after.reason}."


def _listing(model: onnx.ModelProto, options: Mapping[str, Any]) -> Iterator[str]:
    """Yield the nodes of the model and the call of optimize, as a block of code."""
    constants = {tensor.name for tensor in model.graph.initializer}
    yield "```text"
    inputs = [value for value in model.graph.input if value.name not in constants]
    yield f"inputs: {', '.join(f'{value.name} {_shape(value)}' for value in inputs)}"
    yield f"opset: {model.opset_import[0].version}"
    for node in model.graph.node[:_MOST_NODES]:
        operands = ", ".join(name for name in node.input if name and name not in constants)
        yield f"{', '.join(filter(None, node.output))} = {node.op_type}({operands})  {node.name}".rstrip()
    if len(model.graph.node) > _MOST_NODES:
        yield f"and {len(model.graph.node) - _MOST_NODES} nodes more"
    yield f"outputs: {', '.join(value.name for value in model.graph.output)}"
    words = "".join(f", {name}={value!r}" for name, value in options.items())
    yield f"onnxnorm.optimize(model{words})"
    yield "```"


def _shape(value: onnx.ValueInfoProto) -> str:
    dims = [dim.dim_param or str(dim.dim_value) for dim in value.type.tensor_type.shape.dim]
    return f"({', '.join(dims)})"
