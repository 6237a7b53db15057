"""Runs `onnxnorm export`."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any

from onnxnorm.cli.example_options import InputOption, OpenShape, input_option, open_shape
from onnxnorm.cli.exit_codes import UsageError, check_output, refuse_beside
from onnxnorm.cli.factory import Target, load_target
from onnxnorm.cli.image_input import add_image_arguments, image_arguments
from onnxnorm.errors import say_once

__all__ = ["DESCRIPTIONS", "add_arguments", "run"]

DESCRIPTIONS = {
    "export": """export a PyTorch model with every normalization as one node

module:factory, or path/to/script.py:factory, names a torch module, a class or function that makes one when it is
called without arguments, or an object with build() and example_inputs(). The current folder is searched first. The
model is put into evaluation mode. A .pt2 file, as torch.export.save writes it, is exported as it is.""",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command to its parser."""
    parser.add_argument(
        "target", metavar="module:factory", help="the model: module:factory, path/to/script.py:factory or program.pt2"
    )
    parser.add_argument("output", metavar="out.onnx")
    parser.add_argument(
        "--shape",
        action="append",
        default=[],
        type=open_shape,
        metavar="1,3,224,224",
        help="the shape of an input, once for each in order; they are float32, random and seeded. A dimension with a "
        "name stays open: batch=1,3,224,224. Without it the target's example_inputs() are used",
    )
    parser.add_argument(
        "--input",
        action="append",
        default=[],
        type=input_option,
        metavar="name:type:1,128",
        help="an input by the name of its parameter, with its type (float32, float16, bfloat16, float64, int64, int32, "
        "int8, uint8 or bool; float32 where left out) and its shape, as for --shape",
    )
    parser.add_argument("--weights", metavar="FILE", help="load these weights first: a .pt, .pth or .safetensors file")
    parser.add_argument("--input-names", metavar="A,B", help="names for the inputs of the ONNX model, in order")
    parser.add_argument("--output-names", metavar="A,B", help="names for the outputs of the ONNX model, in order")
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
    example = _example(target, arguments)
    module = target.module
    if target.is_program and arguments.weights is not None:
        raise UsageError("a program has its weights already: leave --weights out")
    untrained = not target.is_program and _prepare(module, arguments)

    from onnxnorm.cli.tables import Table, count_operators, format_size, model_size, print_json, print_table, status
    from onnxnorm.exporter.export import export
    from onnxnorm.io.load_and_save import load

    with status(f"exporting {arguments.target}"):
        model = export(
            module,
            example.args,
            arguments.output,
            dynamic_shapes=_dynamic_shapes(target, example, arguments.dynamic),
            opset=arguments.opset,
            fold=arguments.fold,
            exporter=arguments.exporter,
            **image_arguments(arguments),
            input_names=_names(arguments.input_names),
            output_names=_names(arguments.output_names),
        )
    if untrained:
        say_once(
            f"{arguments.target}: its BatchNorms have seen no batch (mean 0, variance 1), so its weights are "
            "untrained; --weights FILE gives it trained ones"
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


def _prepare(module: Any, arguments: argparse.Namespace) -> bool:
    """Give the module its weights and put it into evaluation mode; tell whether it looks untrained."""
    from onnxnorm.cli.module_weights import load_weights, looks_untrained

    if arguments.weights is not None:
        load_weights(module, arguments.weights)
    module.eval()
    return arguments.weights is None and looks_untrained(module)


@dataclass(frozen=True)
class _Example:
    """The example inputs, and the names that the command line gives to their open axes; none where it opens none."""

    args: Any
    open_axes: Any = None


def _example(target: Target, arguments: argparse.Namespace) -> _Example:
    import torch

    shapes: list[OpenShape] = arguments.shape
    inputs: list[InputOption] = arguments.input
    if shapes and inputs:
        raise UsageError("give --input for every input, or --shape for every input, not both")
    generator = torch.Generator().manual_seed(arguments.seed)
    if inputs:
        twice = [option.name for option in inputs if [other.name for other in inputs].count(option.name) > 1]
        if twice:
            raise UsageError(f"--input: {twice[0]!r} is given twice")
        axes = {option.name: option.shape.open_axes for option in inputs}
        return _Example(
            {option.name: option.tensor(generator) for option in inputs}, axes if any(axes.values()) else None
        )
    if shapes:
        opened = tuple(option.open_axes or None for option in shapes)
        tensors = tuple(torch.randn(option.dims, generator=generator) for option in shapes)
        return _Example(tensors, opened if any(opened) else None)
    if target.example_inputs is None and not target.is_program:
        raise UsageError(
            f"{arguments.target} brings no example inputs: give --shape 1,3,224,224 for each input, or --input "
            "name:int64:1,128 where it is not of float32"
        )
    return _Example(target.example_inputs)


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",")]


_SPATIAL_NAMES = {3: ("length",), 4: ("height", "width"), 5: ("depth", "height", "width")}


def _dynamic_shapes(target: Target, example: _Example, axes: list[str]) -> Any:
    if example.open_axes is not None:
        if axes:
            raise UsageError("--dynamic and names of dimensions both say which axes stay open: give one of them")
        return example.open_axes
    if not axes:
        return target.dynamic_shapes
    if "none" in axes:
        refuse_beside("--dynamic none", {f"--dynamic {axis}": axis != "none" for axis in axes}, "no axis stays open")
        return None
    if isinstance(example.args, dict):
        return {name: _open_axes(value, index, axes) for index, (name, value) in enumerate(example.args.items())}
    if example.args is None:
        raise UsageError("a program has its open axes already: leave --dynamic out")
    return tuple(_open_axes(value, index, axes) for index, value in enumerate(example.args))


def _open_axes(value: Any, index: int, axes: list[str]) -> dict[int, str] | None:
    """Give names to one input's open axes; the batch is that of all inputs, spatial axes are each input's own."""
    rank = getattr(value, "ndim", 0)
    names = {0: "batch"} if "batch" in axes and rank > 0 else {}
    if "spatial" in axes:
        suffix = f"_{index}" if index else ""
        names |= {axis: name + suffix for axis, name in enumerate(_SPATIAL_NAMES.get(rank, ()), start=2)}
    return names or None
