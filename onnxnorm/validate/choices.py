"""Checks names that a caller chooses from, and proposes what was probably meant where a name is unknown."""

from __future__ import annotations

from collections.abc import Iterable

from onnxnorm.errors import OnnxNormError

__all__ = ["TARGET_NAMES", "closest", "target_named"]

TARGET_NAMES = ("portable", "onnxruntime", "openvino", "tensorrt", "web")
"""The targets that a model can be optimized for; `passes/targets.py` says what that means."""

_ALIASES = {"ort": "onnxruntime", "ov": "openvino", "trt": "tensorrt", "onnx": "portable", "ort-web": "web"}


def target_named(name: str) -> str:
    """Return the target of that name, or of that usual short form.

    Raises:
        OnnxNormError: there is none.
    """
    found = _ALIASES.get(name.lower(), name.lower())
    if found not in TARGET_NAMES:
        raise OnnxNormError(
            f"there is no target {name!r}{closest(name, TARGET_NAMES)}; there are: {', '.join(TARGET_NAMES)}"
        )
    return found


def closest(word: str, known: Iterable[str]) -> str:
    """Return " (did you mean 'x'?)" where one of the known words is much like this one, else nothing."""
    # Only a mistake needs it, and every start would pay for it.
    import difflib

    found = difflib.get_close_matches(word, list(known), n=1, cutoff=0.7)
    return f" (did you mean {found[0]!r}?)" if found else ""
