"""Checks execution providers of onnxruntime, which at a name that it does not know runs the model elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import onnxruntime  # type: ignore[import-untyped]

from onnxnorm.errors import OnnxNormError
from onnxnorm.validate.choices import closest

__all__ = ["are_for_another_processor", "checked_providers"]

_ENDING = "ExecutionProvider"
_OF_THE_CPU = frozenset(
    {"CPUExecutionProvider", "DnnlExecutionProvider", "XnnpackExecutionProvider", "AzureExecutionProvider"}
)


def checked_providers(providers: object) -> list[Any]:
    """Return the providers that a caller lists; the processor's alone where none are given.

    One that onnxruntime knows and this build of it lacks may be among them: onnxruntime warns of it and takes the next.

    Raises:
        OnnxNormError: they are no list of names, or of pairs of a name and options, or onnxruntime knows no such name.
    """
    if isinstance(providers, (str, Mapping)) or (providers is not None and not isinstance(providers, Iterable)):
        raise OnnxNormError(f"providers is a list, such as ['CPUExecutionProvider'], not {providers!r}")
    given = list(providers or ())
    for each in given:
        pair = isinstance(each, (tuple, list)) and len(each) == 2 and isinstance(each[1], Mapping)
        name = each[0] if pair else each
        if not isinstance(name, str):
            raise OnnxNormError(f"providers holds names, or pairs of a name and a dictionary of options, not {each!r}")
        if name not in (known := _known()):
            raise OnnxNormError(
                f"providers: onnxruntime knows no {name!r}{_meant(name, known)}; this one has "
                f"{', '.join(onnxruntime.get_available_providers())}"
            )
    return given or ["CPUExecutionProvider"]


def are_for_another_processor(providers: Iterable[Any]) -> bool:
    """Whether one of the providers is there and runs on another processor than the one that this runs on."""
    names = {each if isinstance(each, str) else each[0] for each in providers}
    return bool((names - _OF_THE_CPU) & set(onnxruntime.get_available_providers()))


def _known() -> list[str]:
    # Providers of libraries that were registered are devices only.
    devices = onnxruntime.get_ep_devices() if hasattr(onnxruntime, "get_ep_devices") else ()
    plugins = (device.ep_name for device in devices)
    return list(dict.fromkeys([*onnxruntime.get_available_providers(), *onnxruntime.get_all_providers(), *plugins]))


def _meant(name: str, known: Iterable[str]) -> str:
    short = {each.removesuffix(_ENDING).lower(): each for each in known}
    same = short.get(name.lower().removesuffix(_ENDING.lower()))
    return f" (did you mean {same!r}?)" if same else closest(name, short.values())
