"""Runs `onnxnorm export`."""

from __future__ import annotations

import argparse
from typing import Any

from onnxnorm.cli.exit_codes import UsageError, check_output
from onnxnorm.cli.factory import Target, load_target
from onnxnorm.cli.image_input import add_image_arguments, image_arguments
from onnxnorm.cli.tensor_files import ShapeOption, shape_option

__all__ = ["DESCRIPTIONS", "add_arguments", "run"]

DESCRIPTIONS = {
    "export": """export a PyTorch model with every normalization as one node

module:factory names a torch module, a class or function that makes one when it is called without arguments, or
an object with build() and example_inputs(). The current folder is searched first. The model is put into
evaluation mode.""",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command to its parser."""
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
        choices=("batch", "spatial", "none"),
        help="leave the first axis (batch) or the axes from the third (spatial) of every input open, or none; "
        "may be given twice. Without it the target's dynamic_shapes are used",
    )
    parser.add_argument("--opset", type=int, metavar="N", help="the ONNX opset to write")
    parser.add_argument(
        "--exporter",
        choices=("dynamo", "torchscript"),
        default="dynamo",
        help="which of PyTorch's exporters reads the model; torchscript runs it once and takes what the other cannot "
        "trace (default: %(default)s)",
    )
    parser.add_argument("--fold", action="store_true", help="fold the BatchNormalizations at once")
    add_image_arguments(parser)
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the random inputs (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of a table")


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    check_output(arguments.output)
    target = load_target(arguments.target)
    inputs = _example_inputs(target, arguments)
    module = target.module.eval()

    from onnxnorm.cli.tables import Table, count_operators, format_size, model_size, print_json, print_table, status
    from onnxnorm.exporter.export import export
    from onnxnorm.io.load_and_save import load

    with status(f"exporting {arguments.target}"):
        model = export(
            module,
            inputs,
            arguments.output,
            dynamic_shapes=_dynamic_shapes(target, inputs, arguments.dynamic),
            opset=arguments.opset,
            fold=arguments.fold,
            exporter=arguments.exporter,
            **image_arguments(arguments),
        )
    written = load(arguments.output)
    counts = count_operators(written.graph.all_nodes())
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


_SPATIAL_NAMES = {3: ("length",), 4: ("height", "width"), 5: ("depth", "height", "width")}


def _dynamic_shapes(target: Target, inputs: tuple[Any, ...], axes: list[str]) -> Any:
    if not axes:
        return target.dynamic_shapes
    if "none" in axes:
        return None
    return tuple(_open_axes(value, index, axes) for index, value in enumerate(inputs))


def _open_axes(value: Any, index: int, axes: list[str]) -> dict[int, str] | None:
    """Give names to one input's open axes; the batch is that of all inputs, spatial axes are each input's own."""
    rank = getattr(value, "ndim", 0)
    names = {0: "batch"} if "batch" in axes and rank > 0 else {}
    if "spatial" in axes:
        suffix = f"_{index}" if index else ""
        names |= {axis: name + suffix for axis, name in enumerate(_SPATIAL_NAMES.get(rank, ()), start=2)}
    return names or None
