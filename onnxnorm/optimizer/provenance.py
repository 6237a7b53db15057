"""Writes into the metadata of a result what made it, and reads that again."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from typing import TYPE_CHECKING

from onnxnorm.runtime.doctor import own_version

# A plain network is written without onnx-ir, which takes longer to import than that network to fold.
if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir

    from onnxnorm.verification.verify import VerifyReport

__all__ = ["provenance", "provenance_in", "sign"]

_PREFIX = "onnxnorm."
_ORDER = ("version", "passes", "target", "verified", "error", "error_of_original", "biases")


def provenance(
    passes: Sequence[str] | None, target: str, report: VerifyReport | None, *, corrected: bool = False
) -> dict[str, str]:
    """Return what made a result, by name.

    Args:
        passes: the names of the passes that ran; None where they are the default ones.
        target: what it was made for.
        report: the report of its verification; None where it is not verified.
        corrected: whether its biases were corrected for int8, which no verification covers.
    """
    facts = {
        "version": own_version(),
        "passes": "default" if passes is None else ",".join(passes),
        "target": target,
        "verified": "no" if report is None else "yes" if report.passed else "failed",
    }
    if report is not None and report.outputs:
        facts["error"] = f"{max(output.error_result for output in report.outputs):.3g}"
        facts["error_of_original"] = f"{max(output.error_original for output in report.outputs):.3g}"
    if corrected:
        facts["biases"] = "corrected for int8 after the verification"
    return facts


def sign(model: onnx.ModelProto | ir.Model, facts: Mapping[str, str]) -> None:
    """Write the facts into the metadata of the model, in place, and take out those of an earlier result."""
    own = {f"{_PREFIX}{name}": value for name, value in facts.items()}
    properties = model.metadata_props
    if isinstance(properties, MutableMapping):
        for key in [key for key in properties if key.startswith(_PREFIX)]:
            del properties[key]
        properties.update(own)
        return
    others = [(entry.key, entry.value) for entry in properties if not entry.key.startswith(_PREFIX)]
    del properties[:]
    for key, value in [*others, *own.items()]:
        properties.add(key=key, value=value)


def provenance_in(model: ir.Model) -> dict[str, str]:
    """Return what made the model, as its metadata tell; empty where it is no result of this project."""
    told = {key.removeprefix(_PREFIX): value for key, value in model.metadata_props.items() if key.startswith(_PREFIX)}
    known = [name for name in _ORDER if name in told]
    return {name: told[name] for name in [*known, *(name for name in told if name not in known)]}
