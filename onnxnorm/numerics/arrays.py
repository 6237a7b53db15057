"""Answers questions about whole arrays.

A graph has a hundred thousand constants of a few elements, and NumPy's reductions take several microseconds on any
array; to count takes half of one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["MAX_ELEMENTS", "MAX_RANK", "TooLargeError", "all_of", "any_of", "check_size", "finite"]

# That of NumPy, and more axes than any runtime knows.
MAX_RANK = 64
# As many elements as a constant may have that is made of little: the few bytes of a shape can ask for terabytes.
MAX_ELEMENTS = 2**24


class TooLargeError(Exception):
    """Raised where a constant would have more elements than a constant may have."""


def check_size(extents: Iterable[int], given: int = 0) -> None:
    """Check the size of an array of these extents before it is made, from so many given elements.

    Raises:
        TooLargeError: it would be out of all proportion.
    """
    if math.prod(extents) > max(MAX_ELEMENTS, 2 * given):
        raise TooLargeError


def all_of(mask: npt.NDArray[np.bool_]) -> bool:
    """Whether all elements of the mask are true."""
    return int(np.count_nonzero(mask)) == mask.size


def any_of(array: npt.NDArray[Any]) -> bool:
    """Whether anything is not zero; NaN is not."""
    return int(np.count_nonzero(array)) > 0


def finite(array: npt.NDArray[Any]) -> bool:
    """Whether there is neither an infinity nor NaN."""
    return all_of(np.isfinite(array))
