"""Runs the bodies of Loop and Scan, as ONNX says it and the reference evaluator of onnx 1.23 does not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx.reference.op_run import OpRun

__all__ = ["Loop", "Scan"]


class Loop(OpRun):
    """Loop; the reference joins scan outputs along their first axis; they are stacked along a new one."""

    def need_context(self) -> bool:
        return True

    def _run(self, trips: Any, condition: Any, *initial: Any, **keywords: Any) -> tuple[Any, ...]:
        context, attributes = keywords.get("context"), keywords.get("attributes")
        return tuple(_loop(self, trips, condition, *initial, context=context, attributes=attributes))


def _loop(run: Any, trips: Any, condition: Any, *initial: Any, context: Any, attributes: Any) -> list[Any]:
    names, outputs = run.body.input_names, run.body.output_names
    carried, scanned = list(initial), [[] for _ in outputs[1 + len(initial) :]]  # type: list[Any], list[list[Any]]
    proceed = True if condition is None else bool(np.all(condition))
    trip = 0
    while proceed and (trips is None or trip < int(np.reshape(trips, ()))):
        feeds = dict(context or {})
        feeds.update(zip(names, [np.array(trip, np.int64), np.array(proceed), *carried], strict=True))
        results = run.body.run(None, feeds, attributes=attributes)
        proceed = bool(np.all(results[0]))
        carried = results[1 : 1 + len(initial)]
        for column, value in zip(scanned, results[1 + len(initial) :], strict=True):
            column.append(value)
        trip += 1
    if trip == 0 and scanned:
        raise NotImplementedError("a Loop of no trips has scan outputs of unknown shape")
    return carried + [np.stack(column) for column in scanned]


class Scan(OpRun):
    """Scan; the reference knows no axis but the first and no direction but forwards."""

    def need_context(self) -> bool:
        return True

    def _run(self, *inputs: Any, num_scan_inputs: int, **keywords: Any) -> tuple[Any, ...]:
        if self.run_params["opsets"][""] < 9:
            raise NotImplementedError("Scan over batches, of before opset 9")
        body: Any = keywords["body"]
        states = list(inputs[: len(inputs) - num_scan_inputs])
        scanned = inputs[len(states) :]
        steps = [
            np.moveaxis(values, axis, 0)[:: -1 if backwards else 1]
            for values, axis, backwards in zip(
                scanned,
                _each(keywords.get("scan_input_axes"), len(scanned)),
                _each(keywords.get("scan_input_directions"), len(scanned)),
                strict=True,
            )
        ]
        if len({len(values) for values in steps}) > 1:
            raise ValueError("the inputs of Scan have different lengths")
        columns: list[list[Any]] = [[] for _ in body.output_names[len(states) :]]
        for values in zip(*steps, strict=True):
            feeds = dict(keywords.get("context") or {})
            feeds.update(zip(body.input_names, [*states, *map(np.asarray, values)], strict=True))
            results = body.run(None, feeds, attributes=keywords.get("attributes"))
            for column, value in zip(columns, results[len(states) :], strict=True):
                column.append(value)
            states = results[: len(states)]
        if columns and not columns[0]:
            raise NotImplementedError("a Scan of no trips has scan outputs of unknown shape")
        axes = _each(keywords.get("scan_output_axes"), len(columns))
        directions = _each(keywords.get("scan_output_directions"), len(columns))
        return (
            *states,
            *(
                np.stack(column[:: -1 if backwards else 1], axis=axis)
                for column, axis, backwards in zip(columns, axes, directions, strict=True)
            ),
        )


def _each(given: Sequence[int] | None, count: int) -> list[int]:
    """Return one number for each of so many, 0 where none is given."""
    numbers = list(given or ())[:count]
    return numbers + [0] * (count - len(numbers))
