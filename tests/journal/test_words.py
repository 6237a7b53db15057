"""Tests of the sentences of the journal: what they say of one node, and what is the same without the names."""

from __future__ import annotations

import copy
import json
import pickle

import onnx_ir as ir
import pytest

from onnxnorm.cli.normalizations import grouped
from onnxnorm.journal import Code
from onnxnorm.journal.words import Words, general, joined, naming_node, naming_value, say
from onnxnorm.optimizer.records import Fate, NormRecord


def test_a_sentence_without_what_it_names() -> None:
    node = ir.node("Relu", [ir.val("x")], name="bend 'a' {0}")
    told = say("{} bends at zero; behind it, {} is an output", naming_node(node), naming_value(ir.val("y")))
    assert told == f"Relu {node.name!r} bends at zero; behind it, 'y' is an output"
    assert general(told) == "Relu bends at zero; behind it, a value is an output"


def test_sentences_of_sentences() -> None:
    first, second = (say("absorbed into {}", naming_node(ir.node("Conv", [], name=name))) for name in "ab")
    both = joined("; ", (first, "and more", second))
    assert both == "absorbed into Conv 'a'; and more; absorbed into Conv 'b'"
    assert general(both) == "absorbed into Conv; and more"
    assert general(say("{}{}", both, Words(", 7 saved", ""))) == general(both)
    assert not joined("; ", ())


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda words: pickle.loads(pickle.dumps(words))])
def test_a_copy_knows_what_it_names(copied: object) -> None:
    words = say("{} is an input", naming_value(ir.val("x")))
    assert callable(copied)
    assert (copied(words), general(copied(words))) == (words, general(words))


def test_it_is_text_to_everyone_else() -> None:
    words = say("{} is an input", naming_value(ir.val("x")))
    assert json.loads(json.dumps({"reason": words})) == {"reason": "'x' is an input"}
    assert general("plain text") == "plain text"


def test_records_that_differ_in_names_are_told_together() -> None:
    def record(name: str, reason: str) -> NormRecord:
        kind = "BatchNormalization"
        return NormRecord(kind, name, None, Fate.LEFT, reason, kind, "", "", Code.GRAPH_OUTPUT)

    one, two = (record(name, say("{} is an output", naming_value(ir.val(f"y_{name}")))) for name in "ab")
    other = record("c", "'y_c' is an output")
    groups = grouped([one, two, other])
    assert [group.records for group in groups] == [(one, two), (other,)]
    assert [group.reason for group in groups] == ["a value is an output", "'y_c' is an output"]
