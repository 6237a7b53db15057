"""Tests that the account of a result equals its graph: before, after and by fate, over random and chosen networks."""

from __future__ import annotations

import json
from collections.abc import Iterable

import numpy as np
import onnx
import pytest

import onnxnorm
from fuzz.networks import nodes_for
from onnxnorm.cli import main
from onnxnorm.optimizer.records import Account, Fate
from testing.builder import Builder
from testing.networks import random_network

_NORMS = {
    ("", "BatchNormalization"), ("", "GroupNormalization"), ("", "InstanceNormalization"), ("", "LRN"),
    ("", "LayerNormalization"), ("", "LpNormalization"), ("", "MeanVarianceNormalization"), ("", "RMSNormalization"),
    ("onnxnorm", "InterChannelLRN"), ("onnxnorm", "IntraChannelLRN"),
}  # fmt: skip


def _norms(model: onnx.ModelProto) -> int:
    """Count the nodes that normalize, those of a function once for each of its calls."""
    functions = {(function.domain, function.name): function for function in model.functions}

    def count(nodes: Iterable[onnx.NodeProto]) -> int:
        total = 0
        for node in nodes:
            domain = "" if node.domain == "ai.onnx" else node.domain
            called = functions.get((node.domain, node.op_type))
            if (domain, node.op_type) in _NORMS:
                total += 1
            elif called is not None:
                total += count(called.node)
            total += sum(count(attribute.g.node) for attribute in node.attribute)
        return total

    return count(model.graph.node)


def _check(model: onnx.ModelProto, **options: object) -> Account:
    result = onnxnorm.optimize(model, verify=False, **options)  # type: ignore[arg-type]
    account = result.account
    assert account.nodes_before == _norms(model)
    assert account.nodes_after == _norms(result.model)
    assert sum(account.fates.values()) == len(result.normalizations)
    fates = {fate: account.fates.get(fate, 0) for fate in Fate}
    gone = fates[Fate.ABSORBED] + fates[Fate.MERGED] + fates[Fate.PARTLY]
    assert account.after == account.before - gone + fates[Fate.NEW]
    # Whatever is left has its reason, and nothing that went is told to be left.
    left = [record for record in result.normalizations if record.fate is Fate.LEFT]
    assert all(record.code is not None and record.remedy is not None for record in left)
    return account


@pytest.mark.parametrize("seed", range(24))
def test_the_account_of_a_random_network_equals_its_graphs(seed: int) -> None:
    _check(random_network(seed, min(nodes_for(seed), 50)))


@pytest.mark.parametrize("target", ["portable", "onnxruntime", "openvino", "tensorrt", "web"])
def test_lrn_is_written_out_or_accelerated_and_never_told_to_be_left(target: str) -> None:
    b = Builder(dtype=np.float32)
    x = b.node("LRN", b.conv(b.input((1, 3, 8, 8)), 3, 4, (3, 3)), size=3)
    account = _check(b.model(b.node("Relu", x)), target=target)
    wanted = {"portable": Fate.WRITTEN_OUT, "onnxruntime": Fate.ACCELERATED, "web": Fate.WRITTEN_OUT}
    fate = wanted.get(target)
    assert (account.before, account.after) == (1, 1)
    assert fate is None or account.fates == {fate: 1}


def test_a_new_node_of_a_densenet_is_counted() -> None:
    torch = pytest.importorskip("torch")
    from models.densenet import densenet

    torch.manual_seed(0)
    model = onnxnorm.export(
        densenet(blocks=(3, 4)).eval(), (torch.zeros(1, 3, 32, 32),), exporter="torchscript", verify=False
    )
    _check(model)


def test_a_function_that_is_called_twice_has_its_norm_twice() -> None:
    model = onnx.parser.parse_model(
        """<ir_version: 9, opset_import: ["": 17, "local": 1]>
        g (float[1, 2, 3, 3] x) => (float[1, 2, 3, 3] y) { p = local.N (x)  q = Relu (p)  y = local.N (q) }
        <domain: "local", opset_import: ["": 17]>
        N (x) => (y) {
            s = Constant <value = float[2] {1.0, 2.0}> ()
            [body] y = BatchNormalization (x, s, s, s, s)
        }"""
    )
    account = _check(model)
    assert account.before == 2


def test_the_command_line_and_inspect_tell_the_same(tmp_path: object, capsys: pytest.CaptureFixture[str]) -> None:
    model = random_network(3, 40)
    path = f"{tmp_path}/m.onnx"
    onnx.save(model, path)
    account = onnxnorm.optimize(model, verify=False).account
    assert Account.of(onnxnorm.inspect(path)) == account
    assert main(["optimize", path, f"{tmp_path}/out.onnx", "--json", "--no-verify"]) == 0
    told = json.loads(capsys.readouterr().out)["account"]
    assert (told["before"], told["after"]) == (account.before, account.after)
    assert told["fates"] == {fate.value: count for fate, count in account.fates.items()}
