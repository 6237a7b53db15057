"""Opens a model with its preprocessing in front of it, so that all that follows is done, and proved, of the two."""

from __future__ import annotations

from onnxnorm.errors import naming
from onnxnorm.io.model_source import ModelSource
from onnxnorm.prepare.preprocessing import Preprocessing, prepend

__all__ = ["with_preprocessing"]


def with_preprocessing(source: ModelSource, preprocessing: Preprocessing | None) -> ModelSource:
    """Return a source of the model that takes what comes before the preprocessing; the same where there is none.

    Raises:
        OnnxNormError: the model has no input that the preprocessing fits.
    """
    if preprocessing is None:
        return source
    model = source.graph()
    with naming(source.name):
        prepend(model, preprocessing)
    made = ModelSource(model)
    made.name = source.name
    return made
