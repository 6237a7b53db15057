"""Public architectures, from the package timm: what is left of their BatchNorms, and of their training branches.

    python -m bench architectures [NAME ...] [--seconds S]

timm (`pip install timm`) is no part of this project's environment. The weights are random, the statistics are not
trivial. For each network: BatchNormalization nodes as exported and as left by onnxnorm and by each peer installed; the
nodes of our result and of the network collapsed by its own training code (timm's `reparameterize_model`), exported and
optimized like the other; and the latency of both in onnxruntime, as times the speed of the exported one. Exits with 1
where our result does not pass `onnxnorm.verify`.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial

import numpy as np
import onnx
import torch

import onnxnorm
from bench.clock import medians, one_thread
from bench.fold import TOOLS
from bench.tables import print_head, print_row

NETWORKS = (
    "repvgg_a0",
    "mobileone_s0",
    "fastvit_t8",
    "repvit_m1",
    "repghostnet_100",
    "levit_128s",
    "densenet121",
    "dpn68",
    "resnetv2_50",
)


def randomized(network: torch.nn.Module) -> torch.nn.Module:
    """In eval mode, with statistics, scales and shifts that a training could have left."""
    random = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            with torch.no_grad():
                for tensor, least, spread in (
                    (module.running_mean, -0.3, 0.6),
                    (module.running_var, 0.5, 1.0),
                    (module.weight, 0.5, 1.0),
                    (module.bias, -0.3, 0.6),
                ):
                    if tensor is not None:
                        tensor.copy_(torch.rand(tensor.shape, generator=random) * spread + least)
    return network.eval()


def norms(model: onnx.ModelProto) -> int:
    return sum(node.op_type == "BatchNormalization" for node in model.graph.node)


def left_by(tool: str, model: onnx.ModelProto) -> str:
    try:
        return str(norms(TOOLS[tool](model)))
    except Exception as error:  # whatever a peer raises
        return type(error).__name__


def measure(name: str, tools: list[str], seconds: float) -> bool:
    import timm
    from timm.utils.model import reparameterize_model

    torch.manual_seed(0)
    network = randomized(timm.create_model(name, exportable=True))
    example = torch.randn(1, *network.default_cfg.get("input_size", (3, 224, 224)))
    exported = onnxnorm.export(network, (example,))
    merged = onnxnorm.optimize(exported, verify=False).model
    by_training_code = onnxnorm.export(reparameterize_model(network).eval(), (example,))
    collapsed = onnxnorm.optimize(by_training_code, verify=False).model
    models = [exported, merged, collapsed]
    feeds = {exported.graph.input[0].name: np.asarray(example)}
    before, ours, theirs = medians([partial(one_thread(model).run, None, feeds) for model in models], seconds)
    passed = onnxnorm.verify(exported, merged, [feeds]).passed
    peers = [left_by(tool, exported) for tool in tools]
    nodes = len(merged.graph.node), len(collapsed.graph.node)
    print_row(name, norms(exported), norms(merged), *peers, *nodes, f"{before / ours:.2f}", f"{before / theirs:.2f}")
    return passed


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench architectures", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", default=NETWORKS, help="names of timm's networks")
    parser.add_argument("--seconds", type=float, default=8.0, help="how long each network is timed")
    arguments = parser.parse_args()
    tools = [tool for tool in TOOLS if tool != "onnxnorm"]
    print_head("network", "norms", "onnxnorm", *tools, "nodes", "collapsed", "speed-up", "collapsed")
    failed = [name for name in arguments.names if not measure(name, tools, arguments.seconds)]
    if failed:
        print(f"error: not proved: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0
