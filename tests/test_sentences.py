"""Tests that no sentence decides: what a record or an error says is for people, and code goes by fields and types."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import onnxnorm

_PACKAGE = Path(onnxnorm.__file__).parent
# The fields of records that are sentences, and the parameters that hold what an error says.
_FIELDS = frozenset({"advice", "bound", "detail", "oracle", "reason"})
_PARAMETERS = frozenset({"explained", "message", "reason"})
_READERS = frozenset({"endswith", "find", "index", "partition", "removeprefix", "rpartition", "startswith"})
_SEARCHES = frozenset({"findall", "finditer", "fullmatch", "match", "search", "split", "sub"})
# Other programs give their errors no fields, so that what they say has to be looked at: whose it is.
_OF_OTHERS = {
    "cli/__init__.py:error": "argparse",
    "cli/factory.py:_call": "Python",
    "cli/module_weights.py:_why_no_weights": "PyTorch",
    "cli/tensor_files.py:_no_array": "NumPy",
    "exporter/diagnosis.py:why_it_cannot_be_traced": "PyTorch",
    "exporter/diagnosis.py:why_it_does_not_run": "PyTorch",
    "exporter/messages.py:reason_of": "PyTorch",
    "runtime/doctor.py:_check_instruction_set": "the native library",
    "runtime/session.py:is_missing_kernel": "onnxruntime",
    "runtime/session.py:reason_of": "onnxruntime",
    "verification/runs.py:run_once": "onnxruntime",
}
# These ask no more than whether a name stands in front already.
_NAMES_IN_FRONT = frozenset({"errors.py:naming", "runtime/unoptimized.py:refusal_of"})


class _Function:
    """One function, and the expressions in it that are sentences."""

    def __init__(self, node: ast.FunctionDef) -> None:
        self._node = node
        self._names = {
            each.arg
            for each in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
            if each.arg in _PARAMETERS and each.annotation is not None and ast.unparse(each.annotation) == "str"
        }
        self._errors = {each.name for each in ast.walk(node) if isinstance(each, ast.ExceptHandler) and each.name}
        self._errors |= {
            each.arg
            for each in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
            if each.annotation is not None and ast.unparse(each.annotation) in ("Exception", "BaseException")
        }
        for each in ast.walk(node):
            if isinstance(each, ast.Assign) and self._is_sentence(each.value):
                self._names |= {target.id for target in each.targets if isinstance(target, ast.Name)}

    def _is_sentence(self, node: ast.expr) -> bool:
        if isinstance(node, ast.Name):
            return node.id in self._names
        if isinstance(node, ast.Attribute):
            return node.attr in _FIELDS
        if isinstance(node, ast.Subscript):
            return self._is_sentence(node.value)
        if not isinstance(node, ast.Call):
            return False
        if isinstance(node.func, ast.Name) and any(isinstance(e, ast.Name) and e.id in self._errors for e in node.args):
            return True
        # What has been cut or joined is a sentence still.
        inside = [node.func.value] if isinstance(node.func, ast.Attribute) else []
        return any(self._is_sentence(each) for each in (*inside, *node.args))

    def read(self) -> Iterator[str]:
        """Yield the places at which a sentence is searched or compared."""
        for node in ast.walk(self._node):
            if isinstance(node, ast.Compare):
                sides = [node.left, *node.comparators]
                searched = any(isinstance(each, (ast.In, ast.NotIn)) for each in node.ops)
                literal = any(isinstance(each, ast.Constant) and each.value for each in sides)
                found = self._is_sentence(sides[-1]) if searched else literal and any(map(self._is_sentence, sides))
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                reads = node.func.attr in _READERS or (node.func.attr == "split" and bool(node.args))
                found = reads and self._is_sentence(node.func.value)
                found |= node.func.attr in _SEARCHES and any(map(self._is_sentence, node.args))
            else:
                continue
            if found:
                yield f"line {node.lineno}: {ast.unparse(node)}"


def _readings(text: str) -> Iterator[tuple[str, str]]:
    """Yield the functions of a module that read a sentence, each with the place."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            yield from ((node.name, place) for place in _Function(node).read())


def test_no_sentence_of_our_own_is_read() -> None:
    found, used = [], set()
    for path in sorted(_PACKAGE.rglob("*.py")):
        for name, place in _readings(path.read_text(encoding="utf-8")):
            where = f"{path.relative_to(_PACKAGE).as_posix()}:{name}"
            used.add(where)
            if where not in {*_OF_OTHERS, *_NAMES_IN_FRONT}:
                found.append(f"{where}, {place}")
    assert not found
    assert used == {*_OF_OTHERS, *_NAMES_IN_FRONT}


@pytest.mark.parametrize(
    ("code", "is_read"),
    [
        ("if 'needs opset' in decline.reason: pass", True),
        ("if record.reason.startswith('nothing'): pass", True),
        ("_PATTERN.sub('', record.reason)", True),
        ("names = rewrite.detail.partition(' through ')[0]", True),
        ("if record.reason == 'is kept': pass", True),
        ("try: run()\nexcept ValueError as error:\n    if 'kernel' in str(error): raise", True),
        ("try: run()\nexcept ValueError as error:\n    text = ' '.join(str(error).split())\n    'x' in text", True),
        ("if record.code is Code.KEPT: pass", False),
        ("print(f'{record.reason}: {record.node}')", False),
        ("try: run()\nexcept ValueError as error:\n    print(' '.join(str(error).split())[:300])", False),
        ("if before.reason == behind.reason: pass", False),
    ],
)
def test_the_check_sees_what_is_read(code: str, is_read: bool) -> None:
    lines = "\n".join(f"    {line}" for line in code.splitlines())
    assert bool(list(_readings(f"def function():\n{lines}\n"))) == is_read
