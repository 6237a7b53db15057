"""The cases of the snapshots: what each command and each message shows on a terminal and in a pipe."""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxnorm import cli
from onnxnorm.runtime.profile import NodeProfile, Profile

__all__ = ["CASES", "WIDTHS", "Case", "Shown", "normalized", "show", "write_files"]

WIDTHS = (None, 80, 120)
LONG = "/features/stage_1/block_0/a_normalization_with_a_rather_long_name"


@dataclass(frozen=True)
class Case:
    """A command line with its exit code.

    Attributes:
        words: of the command line.
        code: of the exit.
        before: what is run first.
    """

    words: str
    code: int = 0
    before: str = ""

    @property
    def widths(self) -> tuple[int | None, ...]:
        """The widths of the terminals; exporters and processes of their own take long."""
        slow = self.words.startswith("export") and "torch" not in self.words
        return WIDTHS[:1] if slow else WIDTHS[:2] if self.before else WIDTHS


@dataclass
class Shown:
    """What one case shows: on stdout and stderr."""

    code: int
    out: str
    err: str
    width: int | None = field(default=None)


# All numbers of the model and of x.npy are such that floats hold every result exactly: errors are 0 on any machine.
_X = "--input x:x.npy"
CASES: dict[str, Case] = {
    "optimize": Case(f"optimize in.onnx out.onnx {_X}"),
    "optimize-all-explain": Case(f"optimize in.onnx out.onnx --no-verify --all --explain {LONG}/behind"),
    "optimize-dry-run-diff": Case("optimize in.onnx out.onnx --no-verify --dry-run --diff"),
    "optimize-bench": Case(f"optimize in.onnx out.onnx {_X} --bench"),
    "optimize-target": Case("optimize lrn.onnx out.onnx --no-verify --target openvino"),
    "optimize-many": Case("optimize many results --no-verify"),
    "optimize-many-again": Case("optimize many results --no-verify", before="optimize many results --no-verify"),
    "fold": Case("fold in.onnx out.onnx --no-verify --external-data"),
    "inspect": Case("inspect in.onnx"),
    "inspect-all": Case("inspect in.onnx --all"),
    "inspect-node": Case(f"inspect in.onnx --node {LONG}/behind"),
    "inspect-fail-if": Case("inspect in.onnx --fail-if left>0", 1),
    "inspect-many": Case("inspect many"),
    "inspect-ranges": Case("inspect in.onnx --ranges"),
    "verify": Case(f"verify in.onnx in.onnx {_X}"),
    "verify-fails": Case(f"verify in.onnx other.onnx {_X}", 1),
    "verify-layers": Case(f"verify in.onnx in.onnx {_X} --layers"),
    "run": Case(f"run in.onnx {_X} --repeat 2"),
    "run-top": Case(f"run in.onnx {_X} --repeat 2 --top 2"),
    "report": Case(f"report in.onnx -o page.html {_X}"),
    "profile": Case("profile in.onnx --no-verify --top 2"),
    "profile-alone": Case("profile in.onnx --alone --trace trace.json"),
    "reasons": Case("reasons"),
    "reasons-code": Case("reasons graph-output"),
    "doctor": Case("doctor"),
    "passes": Case("optimize --list-passes"),
    "completion-bash": Case("completion bash"),
    "completion-zsh": Case("completion zsh"),
    "completion-fish": Case("completion fish"),
    "export": Case("export net.py:net out.onnx --shape batch=1,3,8,8"),
    # The messages of the table, and mistakes.
    "message-npy-as-archive": Case("run in.onnx --inputs x.npy", 2),
    "message-picture": Case("run in.onnx --input x:cat.png", 2),
    "message-checkpoint": Case("optimize small.pt out.onnx", 2),
    "message-opset-40": Case("optimize opset40.onnx out.onnx", 1),
    "message-custom-domain": Case("run fancy.onnx", 2),
    "message-output-folder": Case("optimize many /proc/results", 2),
    "message-overridable": Case("optimize listed.onnx out.onnx --no-verify"),
    "message-option": Case("optimize in.onnx out.onnx --verfy", 2),
    "message-command": Case("optimise in.onnx out.onnx", 2),
    "message-target": Case("optimize in.onnx out.onnx --target openvina", 2),
    "message-pass": Case("optimize in.onnx out.onnx --passes fold_afines", 2),
    "message-node": Case("inspect in.onnx --node /features/stage_1/block_0/behind", 2),
    "message-reason": Case("reasons bends_at_zerro", 2),
    "message-condition": Case("inspect in.onnx --fail-if lefft>0", 2),
    "message-missing": Case("inspect missing.onnx", 2),
    "message-export-embedding": Case("export net.py:words out.onnx --shape 1,4", 2),
    "message-export-branch": Case("export net.py:branch out.onnx --shape 1,4", 2),
    "message-export-no-torch": Case("export net.py:net out.onnx --shape 1,3,8,8", 2),
}


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def show(case: Case, name: str, width: int | None, monkeypatch: pytest.MonkeyPatch) -> Shown:
    """Run the case on a terminal of this width, or into a pipe where that is None."""
    out, err = (io.StringIO(), io.StringIO()) if width is None else (_Terminal(), _Terminal())
    with monkeypatch.context() as patch:
        patch.setenv("ONNXNORM_DEBUG", "0")
        _hold_still(name, patch)
        if case.before:
            patch.setattr(sys, "stdout", io.StringIO())
            cli.main(case.before.split())
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", err)
        if width is not None:
            patch.setenv("COLUMNS", str(width))
        try:
            code = cli.main(case.words.split())
        except SystemExit as end:
            code = int(end.code or 0)
    plain = [re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", each.getvalue()) for each in (out, err)]
    if width is None:
        assert "\x1b" not in out.getvalue() + err.getvalue()
    return Shown(code, *plain, width)


def _hold_still(name: str, patch: pytest.MonkeyPatch) -> None:
    """Hold clocks still, and what differs from one machine to another."""
    ticks = iter(range(10**9))
    clock = SimpleNamespace(perf_counter=lambda: next(ticks) / 1000)
    for module in ("cli.run", "runtime.turns"):
        patch.setattr(f"onnxnorm.{module}.time", clock)
    patch.setattr("onnxnorm.cli.tables._progress", _no_progress)
    if name == "doctor":
        from onnxnorm.runtime.doctor import Check, Status

        checks = (
            Check("onnxnorm", Status.OK, "1.2.3"),
            Check("native library", Status.NOTE, "is missing: " + 30 * "w "),
        )
        patch.setattr("onnxnorm.runtime.doctor.diagnose", lambda: checks)
    if name.startswith("profile"):
        nodes = [(LONG, "Conv", 1, 0.25, 41_472, 3_712), ("norm", "BatchNormalization", 1, 0.5, 0, 2_048)]
        slow, fast = (tuple(NodeProfile(*node) for node in own) for own in (nodes, nodes[:1]))
        found = (Profile(slow, 0.75, 10, ()), Profile(fast, 0.25, 10, ()))
        patch.setattr("onnxnorm.runtime.profile.profiled", lambda models, *rest, **more: found[: len(models)])
    if name.endswith("no-torch"):
        patch.setitem(sys.modules, "torch", None)


@contextlib.contextmanager
def _no_progress(columns: str) -> Iterator[None]:
    yield None


_MASKS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\d+(\.\d+)? (B|kB|MB|GB)\b"), "# kB"),
    (re.compile(r"(onnxruntime\s+)\d+\.\d+\.\d+"), r"\1#"),
    (re.compile(r"opsets up to \d+"), "opsets up to #"),
    (re.compile(r"version \d+\.\d+\.\d+"), "version #"),
    (re.compile(r"-?\d+\.\d+(e[-+]\d+)?|-?\d+e[-+]\d+"), "#"),
    (re.compile(r"(?<=\S) {2,}"), "  "),
    (re.compile(r"[─━]{2,}"), "──"),
    (re.compile(r" +$", re.MULTILINE), ""),
    # Options are many, and tests of their own say that all are there.
    (re.compile(r'(words=")[^"$]+'), r"\1..."),
    (re.compile(r"(complete -c onnxnorm [^\n]*\n)(?:complete -c onnxnorm [^\n]*\n)+"), r"\1...\n"),
)


def normalized(text: str) -> str:
    """Return the text without the figures and the widths of columns that differ from run to run."""
    for pattern, mask in _MASKS:
        text = pattern.sub(mask, text)
    return text


def _exact_norm(name: str, prefix: str, x: str, y: str) -> tuple[onnx.NodeProto, list[onnx.TensorProto]]:
    """A batch normalization whose scale and shift are sums of powers of two."""
    values = {"scale": [1, 2, 0.5], "shift": [1, -1, 0.5], "mean": [0.5, 1, 0], "var": [4, 1, 0.25]}
    names = [f"{prefix}_{each}" for each in values]
    constants = [
        numpy_helper.from_array(np.asarray(array, np.float32), name)
        for name, array in zip(names, values.values(), strict=True)
    ]
    return helper.make_node("BatchNormalization", [x, *names], [y], name=name, epsilon=0.0), constants


def _network(bias: float = 0.0) -> onnx.ModelProto:
    """A Conv, a normalization that it absorbs, one that stays in part, and one that stays."""
    weight = np.random.default_rng(5).integers(-2, 3, (3, 3, 3, 3)).astype(np.float32)
    norms = [
        _exact_norm("folds", "a", "c", "n"),
        _exact_norm(f"{LONG}/behind", "b", "r", "m"),
        _exact_norm(f"{LONG}/last", "d", "z", "o"),
    ]
    nodes = [
        helper.make_node("Conv", ["x", "w", "bias"], ["c"], name="conv", pads=[1, 1, 1, 1]),
        norms[0][0],
        helper.make_node("Relu", ["n"], ["r"], name="relu"),
        norms[1][0],
        helper.make_node("Relu", ["m"], ["s"], name="relu_2"),
        helper.make_node("Floor", ["s"], ["z"], name="floor"),
        norms[2][0],
        helper.make_node("Flatten", ["o"], ["y"], name="flatten"),
    ]
    constants = [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(np.full(3, bias, np.float32), "bias")]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 4, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 48])],
        [*constants, *(each for _, own in norms for each in own)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


_NETS = """
import torch

def net():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.ReLU())

def words():
    return torch.nn.Sequential(torch.nn.Embedding(10, 4), torch.nn.LayerNorm(4))

class Branch(torch.nn.Module):
    def forward(self, x):
        return x * 2 if x.sum() > 0 else x

branch = Branch
"""


def write_files(folder: Path, lrn: Callable[[], onnx.ModelProto]) -> None:
    """Write all that the cases read."""
    onnx.save(_network(), folder / "in.onnx")
    onnx.save(_network(bias=16.0), folder / "other.onnx")
    onnx.save(lrn(), folder / "lrn.onnx")
    (folder / "many").mkdir()
    onnx.save(_network(), folder / "many" / "in.onnx")
    old = _network()
    old.opset_import[0].version = 40
    onnx.save(old, folder / "opset40.onnx")
    listed = _network()
    weight = next(each for each in listed.graph.initializer if each.name == "a_scale")
    listed.graph.input.append(helper.make_tensor_value_info(weight.name, TensorProto.FLOAT, [3]))
    onnx.save(listed, folder / "listed.onnx")
    fancy = _network()
    fancy.graph.node[2].domain, fancy.graph.node[2].op_type = "com.acme", "Fancy"
    fancy.opset_import.append(helper.make_opsetid("com.acme", 1))
    onnx.save(fancy, folder / "fancy.onnx")
    np.save(folder / "x.npy", np.random.default_rng(6).integers(-4, 5, (1, 3, 4, 4)).astype(np.float32))
    (folder / "cat.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40))
    (folder / "small.pt").write_bytes(b"PK\x03\x04" + bytes(60))
    (folder / "net.py").write_text(_NETS)
    os.chdir(folder)
