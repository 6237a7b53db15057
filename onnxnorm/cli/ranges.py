"""Prints the ranges of weights for `onnxnorm inspect --ranges`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnxnorm.prepare.ranges import WeightRange

__all__ = ["print_ranges", "ranges_of"]


def ranges_of(path: str, result: ir.Model) -> dict[str, Any]:
    """Return the records of a file as it is, of the result of optimizing it, and of that with channels equalized."""
    from onnxnorm.io.load_and_save import load
    from onnxnorm.passes import Equalize
    from onnxnorm.prepare.ranges import weight_ranges

    equalized = load(result)
    Equalize()(equalized)
    models = {"as it is": load(path), "optimized": load(result), "equalized": equalized}
    return {name: weight_ranges(model) for name, model in models.items()}


def print_ranges(forms: dict[str, tuple[WeightRange, ...]]) -> None:
    """Print the worst ratio of each form, and each layer of the result that loses accuracy in int8."""
    from onnxnorm.cli.tables import Table, print_table

    rows = []
    for name, records in forms.items():
        worst = max(records, key=lambda record: record.ratio, default=None)
        told = "-" if worst is None else f"{worst.ratio:.3g}"
        poor = sum(record.loses_accuracy for record in records)
        rows.append((name, str(len(records)), told, "" if worst is None else worst.node, str(poor)))
    print_table(Table.of("weights >count >worst_ratio of >poor_in_int8", rows))
    lossy = [record for record in forms["optimized"] if record.loses_accuracy]
    if lossy:
        titles = "layer operator >worst_ratio >channels >below_8_steps"
        print_table(
            Table.of(
                titles,
                [(r.node, r.op_type, f"{r.ratio:.3g}", str(len(r.ranges)), str(r.poor)) for r in lossy],
            )
        )
