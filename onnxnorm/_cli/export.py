"""`onnxnorm export`."""

from __future__ import annotations

import argparse
from typing import Any

from onnxnorm._cli.outcome import UsageError
from onnxnorm._cli.target import Target, load_target
from onnxnorm._cli.tensors import ShapeOption, shape_option

__all__ = ["DESCRIPTIONS", "add_arguments", "run"]

DESCRIPTIONS = {
    "export": """export a PyTorch model with every normalization as one node

module:factory names a torch module, a class or function that makes one when it is called without arguments, or
an object with build() and example_inputs(). The current folder is searched first. The model is put into
evaluation mode.""",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("target", metavar="module:factory")
    parser.add_argument("output", metavar="out.onnx")
    parser.add_argument(
        "--shape",
        action="append",
        default=[],
        type=shape_option,
        metavar="1,3,224,224",
        help="the shape of an input, once for each in order; they are float32, random and seeded. "
        "Without it the target's example_inputs() are used",
    )
    parser.add_argument(
        "--dynamic",
        action="append",
        default=[],
        choices=("batch", "spatial"),
        help="leave the first axis (batch) or the axes from the third (spatial) of every input open",
    )
    parser.add_argument("--opset", type=int, metavar="N", help="the ONNX opset to write")
    parser.add_argument("--fold", action="store_true", help="fold the BatchNormalizations at once")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the random inputs (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of a table")


def run(arguments: argparse.Namespace) -> int:
    target = load_target(arguments.target)
    inputs = _example_inputs(target, arguments)
    module = target.module.eval()

    from onnxnorm._export import export

    model = export(
        module,
        inputs,
        arguments.output,
        dynamic_shapes=_dynamic_shapes(inputs, arguments.dynamic),
        opset=arguments.opset,
        fold=arguments.fold,
    )

    from onnxnorm._model_io import load
    from onnxnorm._report import Table, count_operators, format_size, model_size, print_json, print_table

    written = load(arguments.output)
    counts = count_operators(written)
    size = model_size(arguments.output, written)
    opsets = {entry.domain: entry.version for entry in model.opset_import}
    if arguments.json:
        print_json({"model": arguments.output, "size": size, "opsets": opsets, "operators": counts})
        return 0
    print_table(Table.of("operator >count", sorted(counts.items())))
    print(f"{arguments.output}: {counts.total()} nodes, opset {opsets.get('', '?')}, {format_size(size)}")
    return 0


def _example_inputs(target: Target, arguments: argparse.Namespace) -> tuple[Any, ...]:
    import torch

    shapes: list[ShapeOption] = arguments.shape
    if not shapes:
        if target.example_inputs is None:
            raise UsageError(f"{arguments.target} brings no example inputs: give --shape 1,3,224,224 for each input")
        return target.example_inputs
    named = next((option.name for option in shapes if option.name is not None), None)
    if named is not None:
        raise UsageError(f"export takes the inputs in their order: write --shape without the name {named!r}")
    generator = torch.Generator().manual_seed(arguments.seed)
    return tuple(torch.randn(option.dims, generator=generator) for option in shapes)


def _dynamic_shapes(inputs: tuple[Any, ...], axes: list[str]) -> tuple[dict[int, Any] | None, ...] | None:
    if not axes:
        return None
    import torch

    batch = torch.export.Dim("batch") if "batch" in axes else None

    def of(value: object) -> dict[int, Any] | None:
        if not isinstance(value, torch.Tensor) or value.ndim == 0:
            return None
        dims: dict[int, Any] = {} if batch is None else {0: batch}
        if "spatial" in axes:
            dims |= dict.fromkeys(range(2, value.ndim), torch.export.Dim.DYNAMIC)
        return dims

    return tuple(map(of, inputs))
