"""Holds the report of `verify`: the verdict, what was measured, and where a result goes wrong."""

from __future__ import annotations

import html
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from onnxnorm.display import data_frame, html_table, plain
from onnxnorm.verification.place import Place

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-not-found,import-untyped,unused-ignore]

__all__ = ["OutputError", "VerifyReport"]


@dataclass(frozen=True)
class OutputError:
    """The worst error of one output over all samples and both runs.

    Attributes:
        name: the output; an element of a sequence is `name[i]`.
        passed: whether the result is as accurate as the original was, everywhere.
        error_original, error_result: the largest absolute errors (of integers and text: how many elements differ).
        index: the element where the error is largest in proportion to what is allowed at its place.
        sample, shapes, optimizations: where that is: the number of the sample, its inputs' shapes, and whether
            onnxruntime's own optimizations were "off" or "on"; "rounded" is a run in float64 in which every operator's
            result is rounded to its type, for models with halves.
        excess: the error over what is allowed at its place, up to 1 where it passed.
        least_absolute_tolerance, least_relative_tolerance: the least tolerance, of one kind alone, with which every
            element of every run would pass a plain comparison with the yardstick.
        yardstick: what the errors are measured against.
        reason: why it did not pass, or None.
        cosine, snr: the cosine similarity with the exact output and the signal-to-noise ratio in decibels, where the
            comparison is by tolerances.
    """

    name: str
    passed: bool
    error_original: float
    error_result: float
    index: tuple[int, ...] | None
    sample: int
    shapes: dict[str, tuple[int, ...]]
    optimizations: str
    excess: float
    least_absolute_tolerance: float
    least_relative_tolerance: float
    yardstick: str
    reason: str | None = None
    cosine: float | None = None
    snr: float | None = None


@dataclass(frozen=True, repr=False)
class VerifyReport:
    """The verdict of `verify`, true where it passed.

    Attributes:
        passed: whether the result computes what the original computes.
        reason: why not, or None.
        oracle: what the errors are measured against, and why, if it is not a float64 run.
        outputs: one record for each output; empty where the models could not be compared.
        samples: the shapes of the inputs, for each sample.
        notes: what a reader should know: shapes that the original refused, outputs that prove little since they hold no
            finite number or are the same whatever the inputs.
        unreached: branches of If, bodies of Loop and sides of Where in the original that no sample takes: what they
            compute was not compared.
        place: where a result that failed goes wrong inside, as far as that can be found.
    """

    passed: bool
    reason: str | None
    oracle: str
    outputs: tuple[OutputError, ...] = ()
    samples: tuple[dict[str, tuple[int, ...]], ...] = ()
    notes: tuple[str, ...] = ()
    unreached: tuple[str, ...] = ()
    place: Place | None = None

    def __bool__(self) -> bool:
        return self.passed

    @property
    def least_absolute_tolerance(self) -> float:
        """The least absolute tolerance, in the units of the outputs, with which all would pass a plain comparison."""
        return max((o.least_absolute_tolerance for o in self.outputs), default=0.0)

    @property
    def least_relative_tolerance(self) -> float:
        """The least relative tolerance with which all outputs would pass a plain comparison."""
        return max((o.least_relative_tolerance for o in self.outputs), default=0.0)

    def to_dict(self) -> dict[str, Any]:
        """Return the report in types that JSON has; infinities and NaN are the strings "inf" and "nan"."""
        record = asdict(replace(self, place=self.place and replace(self.place, piece=None)))
        if self.place is not None:
            del record["place"]["piece"]
        record["least_absolute_tolerance"] = self.least_absolute_tolerance
        record["least_relative_tolerance"] = self.least_relative_tolerance
        converted: dict[str, Any] = plain(record)
        return converted

    def to_dataframe(self) -> pd.DataFrame:
        """Return a data frame of pandas with a row for each output and a column for each attribute of `OutputError`.

        Raises:
            OnnxNormError: pandas is not installed.
        """
        names = [field.name for field in fields(OutputError)]
        return data_frame(names, ([getattr(output, name) for name in names] for output in self.outputs))

    def __repr__(self) -> str:
        return f"<VerifyReport: {self}>"

    def _repr_html_(self) -> str:
        """Return the verdict and a table of the outputs, as notebooks show it."""
        rows = [
            (
                o.name,
                "passed" if o.passed else o.reason,
                f"{o.error_original:.3g}",
                f"{o.error_result:.3g}",
                o.yardstick,
            )
            for o in self.outputs
        ]
        table = html_table(("output", "verdict", "error of the original", "error of the result", "against"), rows)
        return f"<p><b>{html.escape(str(self))}</b></p>\n{table if rows else ''}"

    def __str__(self) -> str:
        if not self.passed:
            return f"failed: {self.reason}" + (f"; {self.place}" if self.place is not None else "")
        worst = max(self.outputs, key=lambda o: o.excess, default=None)
        measured = (
            ""
            if worst is None
            else f"; largest error {max(o.error_result for o in self.outputs):.3g} where the original has "
            f"{max(o.error_original for o in self.outputs):.3g}, at most {worst.excess:.2g} of what is allowed"
        )
        counts = ", ".join(
            f"{len(each)} {noun}{'' if len(each) == 1 else 's'}"
            for noun, each in (("output", self.outputs), ("sample", self.samples))
        )
        return f"passed: {counts}{measured} (against: {self.oracle})"
