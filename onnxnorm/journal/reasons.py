"""The reasons why a normalization is left: a stable code for each, and the evidence that a decline gives with it.

Codes never change their meaning. `onnxnorm reasons CODE` explains one, with an example and its remedy; the same pages
are in docs/reasons/.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["ADVICE", "Code", "Cost", "Evidence", "Remedy", "needs_opset"]


class Code(str, enum.Enum):
    """The stable code of a reason why a normalization is left; `onnxnorm reasons CODE` explains it."""

    GRAPH_OUTPUT = "graph-output"
    """A value that would have to change is an output of the graph."""
    GRAPH_INPUT = "graph-input"
    """The affine comes to an input of the graph, which a caller gives."""
    OVERRIDABLE_WEIGHT = "overridable-weight"
    """A weight is an input of the graph too, so that a caller may replace it."""
    UNKNOWN_SHAPE = "unknown-shape"
    """An extent, a rank or a type is not known before the model runs."""
    COMPUTED_PARAMETER = "computed-parameter"
    """A parameter that would have to be a constant is computed when the model runs."""
    TRAINING_MODE = "training-mode"
    """The node normalizes by the statistics of each batch."""
    FURTHER_OUTPUTS = "further-outputs"
    """Further outputs of the node, such as its statistics or its mask, are used."""
    UNDEFINED = "undefined"
    """The constants of the node contradict each other, or give no finite scale and shift."""
    CONSTANT_INPUT = "constant-input"
    """The node normalizes a constant."""
    BENDS_AT_ZERO = "bends-at-zero"
    """An operator bends at zero, so that no shift passes it."""
    NEGATIVE_SCALE = "negative-scale"
    """An operator lets only positive scales pass, and the affine has a negative one."""
    ZERO_PADDING = "zero-padding"
    """A convolution or a pool counts zeros from its padding, which a shift before it does not reach."""
    OTHER_AXIS = "other-axis"
    """An operator mixes or cuts the axis along which the affine varies, or knows constants along another alone."""
    OPERATOR = "operator"
    """An operator in the way lets no such affine pass, and takes none."""
    ZERO_SCALE = "zero-scale"
    """The affine multiplies a channel by zero, which nothing can undo for the others that read it."""
    QUANTIZED = "quantized"
    """Quantized weights or values have no room for the affine."""
    RUNTIME_UNIT = "runtime-unit"
    """A node in the way belongs to a group that runtimes run as one node."""
    READERS_DIFFER = "readers-differ"
    """Several readers of the same channels ask for different affines, of which one alone can be absorbed."""
    COSTS_AS_MUCH = "costs-as-much"
    """A new node elsewhere would cost as much as the one that goes."""
    LOSES_ACCURACY = "loses-accuracy"
    """Moving the affine holds in real numbers, and costs digits in floating point."""
    OUT_OF_RANGE = "out-of-range"
    """A new constant or value would not fit the range of its type."""
    WEIGHTS_GROW = "weights-grow"
    """Weights that several nodes share would have to be stored again, beyond what they may grow."""
    MASK = "mask"
    """The affine makes or carries a mask, in which exact numbers stay exact."""
    SEARCH_LIMIT = "search-limit"
    """More nodes would have to change together than are tried."""
    NEEDS_OPSET = "needs-opset"
    """A later opset has the node that would stand for the normalization."""
    NO_ONNX_NODE = "no-onnx-node"
    """The normalization is written out, and no node of ONNX can stand for it, or none that the target runs as fast."""
    LOOKS_LIKE = "looks-like"
    """The nodes look like a normalization, and differ from its formula."""
    ONE_NODE = "one-node"
    """The normalization computes its statistics from its input, and stays one node."""
    SIMPLIFIED_LAYER_NORM = "simplified-layer-norm"
    """The node is onnxruntime's own spelling of RMSNormalization."""
    KEPT = "kept"
    """The caller asked to leave this normalization alone."""
    FAILED_VERIFICATION = "failed-verification"
    """Rewriting the node made a result that failed its proof, so that the node was left as it was."""
    NOT_ASKED = "not-asked"
    """No pass that deals with such a node was run."""

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Remedy:
    """A remedy: something that makes a reason go away.

    Attributes:
        text: the remedy as a sentence.
        options: the words on the command line of `onnxnorm optimize` that carry it out; empty where none do.
        output: the output of the graph without which it goes; "" where no output is in the way.
        tried: whether it was tried on a copy and the normalization went; None where it was not tried.
    """

    text: str
    options: tuple[str, ...] = ()
    output: str = ""
    tried: bool | None = None

    @property
    def is_definite(self) -> bool:
        """Whether it can be carried out on a copy of the model."""
        return bool(self.options or self.output)

    @property
    def label(self) -> str:
        """The word before it: only what was tried is said to help."""
        return "what helps" if self.tried else "may help" if self.is_definite else "advice"

    @property
    def told(self) -> str:
        """The sentence with the options."""
        options = " ".join(self.options)
        return f"{self.text} ({options})" if options and options not in self.text else self.text

    def __str__(self) -> str:
        """Return the sentence with the options, and with what came of trying it."""
        if self.tried is None:
            return f"{self.told} (not tried)" if self.is_definite else self.told
        return f"{self.told} ({'tried: it goes' if self.tried else 'tried: this alone is not enough'})"


@dataclass(frozen=True)
class Cost:
    """The figures by which cost decided, in elements: what a BatchNormalization of so many elements takes to run.

    Attributes:
        saves: the work that would go.
        pays: the work that would come in its place.
    """

    saves: int
    pays: int


@dataclass(frozen=True)
class Evidence:
    """The evidence of a reason: what is in the way, where, who reads it, and what can be done.

    Attributes:
        blocker: the name of the node that is in the way; "" where none is.
        op_type: the operator of that node.
        value: the name of the value at which it is in the way.
        readers: who else reads the value: the names of nodes, `graph output` for the caller.
        remedy: what makes the reason go away; None where nothing short of another network does.
        cost: the figures, where cost decided.
        bound: what is known of how many must stay, as a sentence.
    """

    blocker: str = ""
    op_type: str = ""
    value: str = ""
    readers: tuple[str, ...] = ()
    remedy: Remedy | None = None
    cost: Cost | None = None
    bound: str = ""


def needs_opset(opset: int) -> Evidence:
    """Return the evidence that this opset is all that is missing."""
    return Evidence(remedy=Remedy(f"convert the model to opset {opset}", ("--opset", str(opset))))


ADVICE: Mapping[Code, str] = {
    Code.GRAPH_OUTPUT: "leave that output out of the graph, where nobody needs it",
    Code.GRAPH_INPUT: "put a linear layer before or behind it, or apply it to the data before they are given",
    Code.OVERRIDABLE_WEIGHT: "take initializers that are inputs too for constants",
    Code.UNKNOWN_SHAPE: "give the extents that the model will see",
    Code.COMPUTED_PARAMETER: "make the parameter a constant of the model",
    Code.TRAINING_MODE: "export the model in eval mode: module.eval() in PyTorch, training_mode = 0 in the node",
    Code.FURTHER_OUTPUTS: "leave out what reads the further outputs of the node",
    Code.UNDEFINED: "mend the constants of the node",
    Code.CONSTANT_INPUT: "run the pass fold_constants, which computes it once",
    Code.BENDS_AT_ZERO: "train the network with the normalization between the linear layer and the bend",
    Code.NEGATIVE_SCALE: "train the network with the normalization between the linear layer and that operator",
    Code.ZERO_PADDING: "train the network with the normalization behind the padded operator",
    Code.OTHER_AXIS: "train the network with the normalization on the other side of that operator",
    Code.OPERATOR: "train the network with the normalization on the other side of that operator",
    Code.ZERO_SCALE: "prune the channels that are multiplied by zero",
    Code.QUANTIZED: "fold the model before it is quantized",
    Code.RUNTIME_UNIT: "nothing: the group runs as one node, and the affine in it costs nothing",
    Code.READERS_DIFFER: "train the network with one normalization for all that read these channels",
    Code.COSTS_AS_MUCH: "nothing: the result would not be faster; behind a linear layer of the same size it would go",
    Code.LOSES_ACCURACY: "train the network with one normalization for all that read the value, or with smaller shifts",
    Code.OUT_OF_RANGE: "fold the model in float32, and convert it to half precision afterwards",
    Code.WEIGHTS_GROW: "let the weights grow by more",
    Code.MASK: "nothing: exact numbers have to stay exact there",
    Code.SEARCH_LIMIT: "split the model, or fold its parts one by one",
    Code.NEEDS_OPSET: "convert the model to a later opset",
    Code.NO_ONNX_NODE: "nothing: no node of ONNX computes it",
    Code.LOOKS_LIKE: "write the normalization by its formula, where that was meant",
    Code.ONE_NODE: "leave it, it is in its best form; a BatchNormalization trained in its place would fold",
    Code.SIMPLIFIED_LAYER_NORM: "export it as RMSNormalization, which ONNX has from opset 23 on",
    Code.KEPT: "leave the option out that keeps it",
    Code.FAILED_VERIFICATION: "mend the rule, where one was registered for an operator; else report it with the model",
    Code.NOT_ASKED: "run the default passes",
}
"""Advice against a reason in general, where nothing more definite is known, as a sentence."""
