"""Tells why a module could not be exported, and what fits that: other inputs, or the other exporter."""

from __future__ import annotations

import copy
import re

import torch

from onnxnorm.exporter.arguments import Arguments
from onnxnorm.exporter.messages import OTHER_EXPORTER, reason_of

__all__ = ["why_it_cannot_be_traced", "why_it_does_not_run"]

_WANTS_INTEGERS = re.compile(r"indices.*(Long|Int)|expected .*\b(Long|Int|long|int)\b.*(Float|float)", re.DOTALL)
_BRANCHES = re.compile(r"data-dependent|GuardOnDataDependent", re.IGNORECASE)


def why_it_does_not_run(module: torch.nn.Module, arguments: Arguments) -> str | None:
    """Run the module on copies of its example inputs; return why it does not run, with what to do, or None."""
    name = type(module).__name__
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            copy.deepcopy(module)(*copy.deepcopy(arguments.positional), **copy.deepcopy(arguments.named))
    except Exception as error:
        reason = reason_of(error)
        told = f"{name} does not run on these inputs: {reason}"
        if _WANTS_INTEGERS.search(reason):
            first = next((key for key, value in arguments.by_name.items() if _is_float(value)), "x")
            told += f"; it takes whole numbers, torch.int64 in args, or --input {first}:int64:1,128 on the command line"
        return told
    return None


def why_it_cannot_be_traced(module: torch.nn.Module, arguments: Arguments, error: Exception) -> str:
    """Return why torch.export broke off, with what to do."""
    told = why_it_does_not_run(module, arguments)
    if told is not None:
        return told
    reason = reason_of(error)
    told = f"torch.export cannot trace {type(module).__name__}: {reason}"
    if _BRANCHES.search(reason) or _BRANCHES.search(type(error).__name__):
        return (
            f"{told}; a branch of Python depends on the numbers in a tensor: {OTHER_EXPORTER} takes it, with the "
            "branch that the example inputs take fixed for good"
        )
    return f"{told} ({OTHER_EXPORTER} may take it)"


def _is_float(value: object) -> bool:
    return isinstance(value, torch.Tensor) and value.is_floating_point()
