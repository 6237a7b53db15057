"""Checks names that a caller chooses from, and proposes what was probably meant where a name is unknown."""

from __future__ import annotations

from collections.abc import Iterable

from onnxnorm.errors import OnnxNormError

__all__ = ["INT8_SCALES", "TARGET_NAMES", "closest", "nearest", "similar", "target_named"]

INT8_SCALES = ("tensor", "channel")
"""The parts of a weight that have one scale in int8: all of it, or each of its output channels."""

TARGET_NAMES = ("portable", "onnxruntime", "openvino", "tensorrt", "web")
"""The targets that a model can be optimized for; `passes/targets.py` says what that means."""

_ALIASES = {"ort": "onnxruntime", "ov": "openvino", "trt": "tensorrt", "onnx": "portable", "ort-web": "web"}


def target_named(name: str) -> str:
    """Return the target of that name, or of that usual short form.

    Raises:
        OnnxNormError: there is none.
    """
    plain = name.lower() if isinstance(name, str) else ""
    found = _ALIASES.get(plain, plain)
    if found not in TARGET_NAMES:
        raise OnnxNormError(
            f"there is no target {name!r}{closest(plain, TARGET_NAMES)}; there are: {', '.join(TARGET_NAMES)}"
        )
    return found


def closest(word: str, known: Iterable[str]) -> str:
    """Return " (did you mean 'x'?)" where one of the known words is much like this one, else nothing."""
    # Only a mistake needs it, and every start would pay for it.
    import difflib

    found = difflib.get_close_matches(word, list(known), n=1, cutoff=0.7)
    return f" (did you mean {found[0]!r}?)" if found else ""


_SHOWN = 3


def similar(name: str, known: Iterable[str]) -> list[str]:
    """Return the names of a model that were probably meant, the likeliest first; none where none is much like it."""
    import difflib

    names, word = _distinct(known), name.strip("*?").lower()
    # Names of nodes are paths, of which people know a part, or the end.
    end = word.rpartition("/")[2]
    parts = [each for each in names if len(word) > 1 and word in each.lower()]
    parts = parts or [each for each in names if len(end) > 1 and each.lower().endswith(f"/{end}")]
    return sorted(parts, key=len) or difflib.get_close_matches(name, names, n=_SHOWN, cutoff=0.7)


def nearest(name: str, known: Iterable[str]) -> str:
    """Return which names were probably meant, as words for a message; where none is much like it, the first of them."""
    names = _distinct(known)
    if found := similar(name, names):
        *others, last = map(repr, found[:_SHOWN])
        return f" (did you mean {', '.join(others) + ' or ' if others else ''}{last}?)"
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"; there {'is' if len(names) == 1 else 'are'} {', '.join(map(repr, names[:_SHOWN]))}{more}" if names else ""


def _distinct(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(filter(None, names)))
