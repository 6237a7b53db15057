"""The instruction sets that tests of the kernels run on."""

from __future__ import annotations

import pytest

from onnxnorm.runtime.library import find_library
from tests.custom_ops.single_nodes import instruction_sets


@pytest.fixture(params=instruction_sets() if find_library() is not None else [])
def target(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Every instruction set that this build and processor have, one test for each."""
    monkeypatch.setenv("ONNXNORM_ISA", request.param)
    return str(request.param)
