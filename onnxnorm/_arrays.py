"""Questions about whole arrays.

A graph has a hundred thousand constants of a few elements, and NumPy's reductions take several microseconds on any
array; to count takes half of one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["MAX_RANK", "all_of", "any_of", "finite"]

# That of NumPy, and more axes than any runtime knows.
MAX_RANK = 64


def all_of(mask: npt.NDArray[np.bool_]) -> bool:
    return int(np.count_nonzero(mask)) == mask.size


def any_of(array: npt.NDArray[Any]) -> bool:
    """Whether anything is not zero; NaN is not."""
    return int(np.count_nonzero(array)) > 0


def finite(array: npt.NDArray[Any]) -> bool:
    """Whether there is neither an infinity nor NaN."""
    return all_of(np.isfinite(array))
