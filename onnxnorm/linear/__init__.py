"""Merging linear operators: the algebra of convolutions, what a graph says in it, what to replace, and replacing it."""

from onnxnorm.linear.apply import write
from onnxnorm.linear.axis import Axis
from onnxnorm.linear.convolution import Convolution
from onnxnorm.linear.plan import Plan, plans_for
from onnxnorm.linear.reader import Reader
from onnxnorm.linear.step import Family

__all__ = ["Axis", "Convolution", "Family", "Plan", "Reader", "plans_for", "write"]
