"""Every rule has a case that must fold, and a twin that must decline."""

from __future__ import annotations

import onnx
import onnx_ir as ir
import pytest

from onnxnorm.affine.rules import rule_for
from testing.builder import Builder, affines, folded
from tests.affine.pairs import Pair, cases


def _label(pair: Pair) -> str:
    return f"{pair.operator} {'folds' if pair.folds else 'stays'}"


def _has_rule(op_type: str) -> bool:
    return rule_for(ir.Node("", op_type, [])) is not None


@pytest.mark.parametrize("pair", cases(), ids=_label)
def test_folds_or_stays(pair: Pair) -> None:
    b = Builder(**pair.options)
    outputs = pair.build(b)
    model = b.model(*([outputs] if isinstance(outputs, str) else outputs))
    result = folded(model, check=pair.check, tolerance=pair.tolerance)
    left, before = affines(result.model), affines(model)
    reasons = [str(decline) for decline in result.declined]
    if not pair.folds:
        assert left >= before, [rewrite.detail for rewrite in result.rewrites]
    elif _has_rule(pair.operator.split()[0]):
        assert left == pair.left, reasons
    assert before > pair.left


def test_every_rule_has_a_pair() -> None:
    ruled = {schema.name for schema in onnx.defs.get_all_schemas() if not schema.domain and _has_rule(schema.name)}
    for folds in (True, False):
        assert ruled <= {pair.operator.split()[0] for pair in cases() if pair.folds is folds}
