"""Tests of the package's surface: its names, and what importing it costs."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import onnxnorm

ROOT = Path(__file__).resolve().parent.parent
HEAVY = {"torch", "onnx", "onnxruntime", "onnx_ir", "onnxscript", "numpy", "ml_dtypes", "rich"}
NEEDS_TORCH = {"layers"}
VALUES = {"TARGETS", "__version__"}


def _modules_after(statement: str) -> set[str]:
    """The top-level modules of a fresh interpreter after a statement."""
    code = f"import sys\n{statement}\nprint('\\n'.join({{name.partition('.')[0] for name in sys.modules}}))"
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(finished.stdout.split())


def test_public_names_are_pinned() -> None:
    assert onnxnorm.__all__ == [
        "TARGETS",
        "Decline",
        "Fate",
        "NormRecord",
        "OnnxNormError",
        "OnnxNormWarning",
        "OptimizeResult",
        "Rewrite",
        "VerifyReport",
        "__version__",
        "custom_ops_library_path",
        "export",
        "fold",
        "inspect",
        "layers",
        "lrn",
        "optimize",
        "passes",
        "reference",
        "rules",
        "session",
        "testing",
        "verify",
    ]
    assert dir(onnxnorm) == sorted(onnxnorm.__all__)


@pytest.mark.parametrize("name", onnxnorm.__all__)
def test_every_public_name_leads_somewhere_and_is_documented(name: str) -> None:
    if name in NEEDS_TORCH:
        pytest.importorskip("torch")
    found = getattr(onnxnorm, name)
    if name in VALUES:
        assert found
        return
    assert found.__doc__
    if callable(found):
        assert found.__name__ == name
    else:
        assert found is importlib.import_module(f"onnxnorm.{name}")


def test_unknown_names_are_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nosuchname"):
        getattr(onnxnorm, "nosuchname")  # noqa: B009  # a type checker knows that it is not there


def test_importing_the_package_imports_nothing_heavy() -> None:
    loaded = _modules_after("import onnxnorm")
    assert "onnxnorm" in loaded
    assert not loaded & HEAVY


def test_the_core_does_without_torch() -> None:
    names = [name for name in onnxnorm.__all__ if name not in NEEDS_TORCH]
    loaded = _modules_after(f"from onnxnorm import {', '.join(names)}")
    assert "onnx_ir" in loaded
    assert "torch" not in loaded


def test_what_needs_torch_says_so_where_it_is_missing() -> None:
    for name in ("layers", "export"):
        code = (
            "import sys\nsys.modules['torch'] = None\nimport onnxnorm\n"
            f"try:\n    onnxnorm.{name}\n    {'onnxnorm.export(None, ())' if name == 'export' else ''}\n"
            "except onnxnorm.OnnxNormError as error:\n    print(error)\n"
        )
        finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
        assert finished.returncode == 0, finished.stderr
        assert 'pip install "onnxnorm[torch]"' in finished.stdout
