"""The forms in which a caller may hand over a model, and what messages call it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Protocol, TypeAlias, TypeVar

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir

__all__ = ["CarriesModel", "ModelLike", "PlainModel", "model_of", "name_of"]

PlainModel: TypeAlias = "str | os.PathLike[str] | onnx.ModelProto | ir.Model"

M_co = TypeVar("M_co", bound="onnx.ModelProto | ir.Model", covariant=True)


class CarriesModel(Protocol[M_co]):
    """An object that carries a model: the result of `optimize`, or what `torch.onnx.export` returns."""

    @property
    def model(self) -> M_co:
        """The model."""


ModelLike: TypeAlias = "PlainModel | CarriesModel[onnx.ModelProto] | CarriesModel[ir.Model]"


def model_of(given: ModelLike) -> PlainModel:
    """Return the model that was given, or the one that the object given carries."""
    # A result that came of a file holds what would be too large for one message.
    for name in ("held", "model"):
        carried: PlainModel | None = getattr(given, name, None)
        if carried is not None:
            return carried
    return given  # type: ignore[return-value]  # it carries none, so that it is one


def name_of(model: ModelLike) -> str:
    """Return the name that messages give the model: its path, or the name of its graph."""
    plain = model_of(model)
    if isinstance(plain, (str, os.PathLike)):
        return os.fspath(plain)
    graph = getattr(plain, "graph", None)
    return getattr(graph, "name", None) or "the model"
