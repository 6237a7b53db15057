"""Remembers what a result was made of, for those who ask for both later."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from onnxnorm.errors import OnnxNormError
from onnxnorm.model.source import ModelLike, PlainModel, model_of

__all__ = ["Original"]


@dataclass(frozen=True)
class Original:
    """The model that a result was made of: a reference to it, or the path of its file and how that was then."""

    model: PlainModel
    stamp: tuple[int, int] | None

    @classmethod
    def of(cls, model: ModelLike) -> Original:
        """Remember a model, which nobody has changed yet."""
        plain = model_of(model)
        return cls(plain, _stamp(plain))

    def unchanged(self) -> PlainModel:
        """Return the model.

        Raises:
            OnnxNormError: its file is another than it was.
        """
        if self.stamp != _stamp(self.model):
            raise OnnxNormError(f"{self.model}: has changed since it was optimized; give the original as it was")
        return self.model


def _stamp(model: PlainModel) -> tuple[int, int] | None:
    if not isinstance(model, (str, os.PathLike)):
        return None
    try:
        found = Path(model).stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns
