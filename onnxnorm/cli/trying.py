"""Tries what helps against reasons, and tells on a terminal that it does so."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnxnorm.io.model_source import ModelSource
    from onnxnorm.optimizer.records import NormRecord

__all__ = ["tried"]


def tried(
    source: ModelSource, records: Iterable[NormRecord], options: Mapping[str, Any], *, took: float, seconds: float
) -> tuple[NormRecord, ...]:
    """Return the records with their remedies tried; the arguments are those of `with_tried_remedies`."""
    from onnxnorm.cli.tables import status

    told = tuple(records)
    if not any(record.remedy is not None and record.remedy.is_definite for record in told):
        return told
    from onnxnorm.optimizer.remedies import with_tried_remedies

    with status(f"trying what helps on copies of {source.name}"):
        return with_tried_remedies(source, told, options, took=took, seconds=seconds)
