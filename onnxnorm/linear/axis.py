"""Describes where a convolution reads along one spatial axis, and how many results it gives.

Output o reads the inputs at o * stride + first, first + dilation, ..., last, where first = -begin; what lies outside
of the input counts as zero. On an input of extent n there are floor((n - 1 + slack) / stride) + 1 results with
slack = end - last (ONNX's formula for explicit paddings, regrouped). Two windows agree on the number of results for
every n where their strides and slacks are equal. A negative padding leaves part of the input out, as a slice does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

__all__ = ["AnyAxis", "Axis", "TransposedAxis"]


@dataclass(frozen=True)
class _Taps:
    """The taps of a window along one axis: `kernel` of them, `dilation` apart, the first at offset -begin."""

    kernel: int = 1
    stride: int = 1
    dilation: int = 1
    begin: int = 0
    end: int = 0

    def __post_init__(self) -> None:
        if self.kernel == 1 and self.dilation != 1:
            object.__setattr__(self, "dilation", 1)

    @property
    def first(self) -> int:
        """The smallest offset of a tap."""
        return -self.begin

    @property
    def last(self) -> int:
        """The largest offset of a tap."""
        return self.first + (self.kernel - 1) * self.dilation

    @property
    def pointwise(self) -> bool:
        """Whether output o depends on input o alone."""
        return self.kernel == 1 and self.stride == 1 and self.begin == 0 and self.end == 0

    def places(self, within: _Taps, step: int = 1) -> slice:
        """Locate these taps, `step` times as far apart, among those of a window that starts at the same offset."""
        if self.kernel == 1:
            return slice(0, 1)
        pace = self.dilation * step // within.dilation
        return slice(0, (self.kernel - 1) * pace + 1, pace)

    def embedded(self, within: _Taps) -> slice:
        """Locate these taps among those of a window that has all of them at their own offsets."""
        start = (self.first - within.first) // within.dilation
        places = self.places(within)
        return slice(start, start + places.stop, places.step)


@dataclass(frozen=True)
class Axis(_Taps):
    """An axis of a convolution, on an input with `begin` and `end` zeros around it."""

    @property
    def slack(self) -> int:
        return self.end - self.last

    @property
    def pads(self) -> bool:
        """Whether zeros are read that no input stands for; then a shift before it is no shift behind it."""
        return self.begin > 0 or self.end > 0

    def results(self, extent: int) -> int:
        """Count the outputs that an input of that extent gives."""
        return (extent - 1 + self.slack) // self.stride + 1

    def density(self) -> float:
        """Multiply-adds for each output."""
        return float(self.kernel)

    def then(self, outer: AnyAxis, extent: int | None) -> AnyAxis | None:
        """Return the taps of `outer` reading the results of this axis; None where that is no single window.

        Where `outer` pads, it reads zeros outside of the results. So this window must read nothing but zeros there
        itself: at output -1 and before, if its last tap lies before the input then; at the first output past the end
        and behind, if its first tap lies past an input of that extent (None: any extent).
        """
        if isinstance(outer, TransposedAxis):
            return outer if self.pointwise else None
        if outer.begin > 0 and self.last >= self.stride:
            return None
        if outer.end > 0 and self._first_left_out(extent) < 0:
            return None
        spans = [(self.kernel, self.dilation), (outer.kernel, outer.dilation * self.stride)]
        dilation = math.gcd(*(step for taps, step in spans if taps > 1)) or 1
        reach = sum((taps - 1) * step for taps, step in spans)
        return Axis(
            reach // dilation + 1,
            self.stride * outer.stride,
            dilation,
            self.begin + outer.begin * self.stride,
            self.end + outer.end * self.stride,
        )

    def _first_left_out(self, extent: int | None) -> int:
        """Return how far past the end of the input the first output reads that is not there any more.

        Without an extent it is the least that it can be.
        """
        if extent is None:
            return self.slack + self.first
        return self.results(extent) * self.stride + self.first - extent

    def joined(self, other: AnyAxis, extent: int | None) -> AnyAxis | None:
        """Return the smallest window that has the taps of both, with equally many results on an input of that extent.

        None where the strides or the numbers of results differ, or (extent None: not known) might differ.
        """
        if isinstance(other, TransposedAxis):
            return other.joined(self, extent)
        if self.stride != other.stride:
            return None
        if self.slack != other.slack and (extent is None or self.results(extent) != other.results(extent)):
            return None
        first, last, dilation = _common_grid(self, other)
        # Of the slacks that give the same number of results here, the smallest that leaves no input out.
        ends = sorted(window.slack + last for window in (self, other))
        end = ends[0] if ends[0] >= 0 else ends[1]
        return Axis((last - first) // dilation + 1, self.stride, dilation, -first, end)


@dataclass(frozen=True)
class TransposedAxis(_Taps):
    """An axis of a transposed convolution: input i is written to i * stride + first, first + dilation, ..., last.

    On an input of extent n there are (n - 1) * stride + 1 + last - end + extra results (ONNX's formula, regrouped;
    `extra` is its output padding).
    """

    extra: int = 0

    @property
    def surplus(self) -> int:
        return self.last - self.end + self.extra

    @property
    def pads(self) -> bool:
        """Whether fewer inputs are written to a result at the border than inside.

        Then a shift before it is no shift behind it.
        """
        return not self.pointwise or self.extra > 0

    def results(self, extent: int) -> int:
        """Count the outputs that an input of that extent gives."""
        return (extent - 1) * self.stride + 1 + self.surplus

    def density(self) -> float:
        """Multiply-adds for each output, about."""
        return self.kernel / self.stride

    def then(self, outer: AnyAxis, extent: int | None) -> AnyAxis | None:
        """Return this axis where `outer` looks at one result at a time, else None."""
        return self if outer.pointwise and not isinstance(outer, TransposedAxis) else None

    def joined(self, other: AnyAxis, extent: int | None) -> AnyAxis | None:
        """Return the smallest window that has the taps of both, with equally many results; None where there is none."""
        if not isinstance(other, TransposedAxis):
            if not other.pointwise:
                return None
            other = TransposedAxis()
        if self.surplus != other.surplus or self.stride != other.stride:
            return None
        first, last, dilation = _common_grid(self, other)
        cropped = last - self.surplus
        return TransposedAxis(
            (last - first) // dilation + 1, self.stride, dilation, -first, max(cropped, 0), max(-cropped, 0)
        )


AnyAxis: TypeAlias = "Axis | TransposedAxis"


def _common_grid(a: _Taps, b: _Taps) -> tuple[int, int, int]:
    """Return the first and last offset of the taps of both, and the widest spacing that meets all of them."""
    first, last = min(a.first, b.first), max(a.last, b.last)
    steps = [window.dilation for window in (a, b) if window.kernel > 1]
    return first, last, math.gcd(*steps, a.first - b.first) or 1
