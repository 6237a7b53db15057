"""Tests that every block of code in the documents runs as it stands there, or says why it cannot.

Blocks run in a folder that has the files which they name, and with the names that they take for granted; of shell
blocks each line runs. The tutorial, the recipes and the pages of reasons have tests of their own.
"""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import onnxnorm
from onnxnorm import cli
from tests.cli.samples import conv_bn_lrn
from tests.test_extend_rules import reversed_relu

torch = pytest.importorskip("torch")

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), ROOT / "models/README.md", ROOT / "custom_ops/README.md"]
PAGES += sorted((ROOT / "docs").rglob("*.md"))
BLOCK = re.compile(r"^(?P<fence>```+)(?P<language>\w*)\n(?P<code>.*?)^(?P=fence)$", re.DOTALL | re.MULTILINE)
BLOCKS = [
    (page.relative_to(ROOT).as_posix(), found["language"], found["code"])
    for page in PAGES
    for found in BLOCK.finditer(page.read_text(encoding="utf-8"))
]
# Where blocks of a language, or those of a page, are run or held against what a command prints.
ELSEWHERE = {
    ("docs/recipes.md", "python"): "tests/docs/test_site.py",
    ("docs/tutorial/normalization.md", "python"): "tests/docs/test_tutorial.py",
    ("docs/tutorial/normalization.zh.md", "python"): "tests/docs/test_tutorial.py",
    ("CONTRIBUTING.md", "python"): "tests/docs/test_recipes.py",
    ("CONTRIBUTING.md", "diff"): "tests/docs/test_recipes.py",
    ("docs/reasons", "text"): "tests/docs/test_reasons.py",
}
# Blocks that cannot run here, by language, and why.
NOT_CODE = {
    "": "what a command printed",
    "c": "custom_ops/examples/run.c is the whole program, built by tests/custom_ops",
    "cpp": "no C++ header of onnxruntime is installed",
    "csharp": "no .NET is installed",
    "yaml": "settings of another program",
}
# Lines of shell blocks that do not run in this test, and why. Each has to fit some line.
NOT_RUN = {
    r"python3 dev\.py ": "makes a virtual environment, and runs all tests",
    r"\.venv/bin/python -m (pytest|ruff|mypy)|pytest ": "runs tests and checks, of which this is one",
    r"pip install ": "needs an index of packages",
    r"python -m bench ": "measures for minutes; that each bench exists is tested in tests/docs/test_names.py",
    r"cmake -S |ONNXNORM_LIBRARY=|(\.venv/bin/)?python custom_ops/check\.py": "builds the kernels",
    r"python release/check\.py ": "needs the wheels of a release; tests/test_release.py has its checks",
    r"python -m onnxruntime\.quantization": "is another project's",
    r".* --scheduler tcp://": "needs a Dask cluster; tests/cli starts one",
}


def lines_of(code: str) -> list[str]:
    joined = code.replace("\\\n", " ")
    return [line for line in joined.splitlines() if line.strip() and not line.startswith("#")]


def shell_lines() -> list[tuple[str, str]]:
    return [(page, line) for page, language, code in BLOCKS if language == "sh" for line in lines_of(code)]


def why_not(line: str) -> str | None:
    return next((reason for pattern, reason in NOT_RUN.items() if re.match(pattern, line)), None)


RUN = [(page, line) for page, line in shell_lines() if why_not(line) is None]


CLASSIFIER = """<ir_version: 8, opset_import: ["": 17]>
classifier (float[1, 3, 8, 8] x) => (float[1, 18] y)
{ pooled = MaxPool <kernel_shape = [8, 3]> (x) y = Flatten (pooled) }"""
FACTORY = """import torch


def factory():
    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 7, 7), torch.nn.BatchNorm2d(4)).eval()
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the files that the documents name."""
    pillow = pytest.importorskip("PIL.Image")
    folder = tmp_path_factory.mktemp("files")
    model = conv_bn_lrn(bias=2.0)
    next(node for node in model.graph.node if node.name == "lrn").name = "NODE"
    onnx.save(model, folder / "model.onnx")
    onnxnorm.optimize(model, target="onnxruntime", verify=False).save(folder / "fast.onnx")
    # A model as other tools leave it: its weights a little off.
    near = onnx.ModelProto.FromString(model.SerializeToString())
    weight = onnx.numpy_helper.to_array(near.graph.initializer[0])
    near.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(np.round(weight * 300) / 300, "w"))
    onnx.save(near, folder / "int8.onnx")
    onnx.save(onnx.parser.parse_model(CLASSIFIER), folder / "net.onnx")
    (folder / "DIR").mkdir()
    onnx.save(model, folder / "DIR" / "one.onnx")
    np.savez(folder / "samples.npz", x=np.random.default_rng(0).random((2, 3, 8, 8), np.float32))
    pillow.fromarray(np.full((20, 30, 3), 128, np.uint8)).save(folder / "cat.png")
    (folder / "net.py").write_text(FACTORY)
    names: dict[str, Any] = {}
    exec(FACTORY, names)
    torch.save(names["factory"]().state_dict(), folder / "net.pt")
    return folder


@pytest.fixture
def folder(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Go to a copy of the folder."""
    shutil.copytree(files, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("page", "line"), RUN, ids=[line.partition("#")[0].strip() for _, line in RUN])
def test_shell_lines_run(page: str, line: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program, *arguments = shlex.split(line, comments=True)
    assert program == "onnxnorm", page
    assert cli.main(arguments) == 0, capsys.readouterr().err
    for name in arguments[1:]:
        # What the last file of a line is called has been written.
        if name.endswith((".onnx", ".html")):
            assert (folder / name).is_file()


def own_names() -> dict[str, Any]:
    """Return the names that blocks take for granted: a module and what is the reader's own."""
    import onnx_ir as ir
    from onnxscript.rewriter import RewriteRule, RewriteRuleSet

    class MyPass(ir.passes.InPlacePass):
        def call(self, model: ir.Model) -> ir.passes.PassResult:
            return ir.passes.PassResult(model, modified=False)

    module = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.LocalResponseNorm(3)
    ).eval()
    rule = RewriteRule(lambda op, x: op.Neg(op.Neg(x)), lambda op, x: op.Identity(x))
    return {
        "__name__": "document",
        "RewriteRuleSet": RewriteRuleSet,
        "MyPass": MyPass,
        "example": torch.rand(1, 3, 8, 8),
        "model": conv_bn_lrn(),
        "module": module,
        "my_rule": rule,
        "np": np,
        "onnxnorm": onnxnorm,
    }


def is_elsewhere(page: str, language: str) -> bool:
    return any(page.startswith(place) and language == own for place, own in ELSEWHERE)


PYTHON = [(page, code) for page, language, code in BLOCKS if language == "python" and not is_elsewhere(page, language)]


@pytest.mark.parametrize(("page", "code"), PYTHON, ids=[f"{page}-{place}" for place, (page, _) in enumerate(PYTHON)])
def test_python_blocks_run(page: str, code: str, folder: Path) -> None:
    names = own_names()
    if "check_rule(my_rule" in code:
        names["my_rule"] = reversed_relu
    exec(compile(code, page, "exec"), names)
    for name, test in list(names.items()):
        if name.startswith("test_"):
            test()


def test_every_block_is_run_or_says_why_not() -> None:
    for page, language, _ in BLOCKS:
        assert language in ("python", "sh") or is_elsewhere(page, language) or language in NOT_CODE, (page, language)
    assert all((ROOT / where).is_file() for where in ELSEWHERE.values())
    for pattern in NOT_RUN:
        assert any(re.match(pattern, line) for _, line in shell_lines()), pattern
    assert len(RUN) > 15 and len(PYTHON) >= 6
