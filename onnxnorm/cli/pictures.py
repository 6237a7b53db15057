"""Reads pictures as a model takes them, and tells the classes that an output favours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnxnorm.cli.exit_codes import UsageError
from onnxnorm.cli.tensor_files import why

if TYPE_CHECKING:
    import numpy as np

    from onnxnorm.runtime.inputs import InputSpec

__all__ = ["PRESETS", "SUFFIXES", "Favoured", "favoured", "is_picture", "read_labels", "read_picture"]

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")

_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
# Mean and deviation of the channels, red first, of values between 0 and 1.
PRESETS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "imagenet": _IMAGENET,
    "inception": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "unit": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
}
"""The ways to prepare a picture; source of the figures of ImageNet: the documentation of torchvision's models."""

_SIZE = 224
_CHANNELS = 3
# Evaluation on ImageNet scales the shorter side to 256 where the network takes 224.
_MARGIN = 256 / 224


@dataclass(frozen=True)
class Favoured:
    """The classes with the greatest numbers in one row of an output, the greatest first."""

    output: str
    classes: tuple[int, ...]
    scores: tuple[float, ...]
    labels: tuple[str, ...]

    def __str__(self) -> str:
        names = self.labels or tuple(str(number) for number in self.classes)
        return ", ".join(f"{name} {score:.4g}" for name, score in zip(names, self.scores, strict=True))


def is_picture(path: str) -> bool:
    """Whether the name is that of a picture."""
    return path.lower().endswith(SUFFIXES)


def read_picture(path: str, spec: InputSpec, preset: str) -> np.ndarray:
    """Read a picture, scale and cut it to the size of the input, and prepare its numbers.

    Args:
        path: the file.
        spec: the input; its layout is that in which an axis has three channels, or one.
        preset: one of `PRESETS`.

    Raises:
        UsageError: the file is no picture, the input takes none, or Pillow is not installed.
    """
    import numpy as np

    dims, channels_last = _layout(spec)
    try:
        from PIL import Image  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except ModuleNotFoundError as error:
        raise UsageError('reading pictures needs Pillow: pip install "onnxnorm[pictures]"') from error
    height, width = (dim if isinstance(dim, int) else _SIZE for dim in (dims[1:3] if channels_last else dims[2:4]))
    channels = dims[3] if channels_last else dims[1]
    try:
        with Image.open(path) as opened:
            picture = opened.convert("L" if channels == 1 else "RGB")
    except Exception as error:
        raise UsageError(f"{path}: cannot be read as a picture ({why(error)})") from error
    factor = max(height * _MARGIN / picture.height, width * _MARGIN / picture.width)
    size = (max(round(picture.width * factor), width), max(round(picture.height * factor), height))
    picture = picture.resize(size, Image.Resampling.BILINEAR)
    left, top = (picture.width - width) // 2, (picture.height - height) // 2
    pixels = np.asarray(picture.crop((left, top, left + width, top + height)), np.float64)
    if spec.dtype.kind in "ui":
        prepared = pixels
    else:
        mean, deviation = PRESETS[preset]
        count = 1 if channels == 1 else _CHANNELS
        prepared = (pixels / 255 - np.squeeze(mean[:count])) / np.squeeze(deviation[:count])
    if prepared.ndim == 2:
        prepared = prepared[..., None]
    image = prepared if channels_last else prepared.transpose(2, 0, 1)
    return np.ascontiguousarray(image[None]).astype(spec.dtype)


def _layout(spec: InputSpec) -> tuple[tuple[int | str, ...], bool]:
    dims = spec.dims
    if dims is not None and len(dims) == 4:
        for axis in (1, 3):
            if dims[axis] in (1, _CHANNELS):
                return dims, axis == 3
        if isinstance(dims[1], str):
            return dims, False
    shown = "unknown rank" if dims is None else f"shape {','.join(map(str, dims))}"
    raise UsageError(f"input {spec.name!r} has {shown}, and takes no picture: one has 4 axes and 1 or 3 channels")


def read_labels(path: str | None) -> tuple[str, ...]:
    """Read the names of classes, one a line; none where there is no file.

    Raises:
        UsageError: the file cannot be read.
    """
    if path is None:
        return ()
    try:
        return tuple(Path(path).read_text(encoding="utf-8").splitlines())
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read as text ({why(error)})") from error


def favoured(outputs: dict[str, Any], count: int, labels: Sequence[str]) -> tuple[Favoured, ...]:
    """Return the favoured classes of each output that has a number for each class, of its first row.

    Raises:
        UsageError: no output is of that kind.
    """
    import numpy as np

    found = []
    for name, value in outputs.items():
        row = np.squeeze(value[:1]) if isinstance(value, np.ndarray) and value.ndim >= 1 and value.size else None
        if row is None or row.ndim != 1 or row.dtype.kind not in "fiu":
            continue
        order = np.argsort(-row.astype(np.float64), kind="stable")[:count]
        names = tuple(labels[i] if i < len(labels) else str(i) for i in order) if labels else ()
        found.append(Favoured(name, tuple(int(i) for i in order), tuple(float(row[i]) for i in order), names))
    if not found:
        shapes = ", ".join(f"{name}: {list(getattr(value, 'shape', ()))}" for name, value in outputs.items())
        raise UsageError(f"no output has one number for each class, as --top and folders need it ({shapes})")
    return tuple(found)
