"""Options that would do nothing beside another one are refused in a line that names both; each alone is taken."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from onnxnorm import cli
from tests.cli.samples import Captured, conv_bn_lrn, fails

CONTRADICTIONS = {
    "optimize m.onnx out.onnx --no-verify --input x:x.npy": ("--input", "--no-verify"),
    "optimize m.onnx out.onnx --no-verify --shape 1,3,8,8": ("--shape", "--no-verify"),
    "optimize m.onnx out.onnx --no-verify --bisect pair": ("--bisect", "--no-verify"),
    "optimize m.onnx out.onnx --no-verify --bench --bisect pair": ("--bisect", "--no-verify"),
    "optimize m.onnx out.onnx --json --explain bn": ("--explain", "--json"),
    "fold m.onnx out.onnx --no-verify --inputs x.npz": ("--inputs", "--no-verify"),
    "inspect m.onnx m.onnx --node bn": ("--node", "several models"),
    "inspect . --ranges": ("--ranges", "several models"),
    "inspect m.onnx --ranges --fail-if left>0": ("--fail-if", "--ranges"),
    "inspect m.onnx --ranges --node bn": ("--node", "--ranges"),
    "verify m.onnx m.onnx --snr 30 --bisect pair": ("--bisect", "--snr"),
    "profile m.onnx m.onnx --alone": ("--alone", "a second model"),
    "profile m.onnx m.onnx --target web": ("--target", "a second model"),
    "profile m.onnx --alone --no-verify": ("--no-verify", "--alone"),
    "report m.onnx m.onnx --target web": ("--target", "a second model"),
    "report m.onnx --no-verify --shape 1,3,8,8": ("--shape", "--no-verify"),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    onnx.save(conv_bn_lrn(), tmp_path / "m.onnx")
    np.save(tmp_path / "x.npy", np.zeros((1, 3, 8, 8), np.float32))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("words", CONTRADICTIONS)
def test_what_would_do_nothing_is_refused(words: str, folder: Path, capsys: Captured) -> None:
    told = fails_whatever_is_printed(capsys, words) if "--json" in words else fails(capsys, 2, *words.split())
    option, other = CONTRADICTIONS[words]
    assert told.startswith(f"{option} does nothing beside {other}: ") and told.endswith("leave one of the two out")
    assert {path.name for path in folder.iterdir()} == {"m.onnx", "x.npy"}


def fails_whatever_is_printed(capsys: Captured, words: str) -> str:
    assert cli.main(words.split()) == 2
    return capsys.readouterr().err.removeprefix("onnxnorm: error: ").strip()


@pytest.mark.parametrize(
    "words",
    [
        "optimize m.onnx out.onnx --input x:x.npy",
        "optimize m.onnx out.onnx --no-verify --explain bn",
        "optimize m.onnx out.onnx --no-verify --bench --shape 1,3,8,8",
        "inspect m.onnx --node bn --fail-if left>9",
        "profile m.onnx m.onnx --repeat 1",
    ],
)
def test_what_does_something_is_taken(words: str, folder: Path) -> None:
    assert cli.main(words.split()) == 0
