"""Public: rules of operators that other packages define, so that affines pass them or are absorbed by them.

A rule says what its operator can do with an affine at its inputs and outputs. It is asked about one node, a `Site`,
some of whose values are to be replaced by an affine of themselves, a `Gauge`, and answers with what the node becomes
(`Settled`, or a `Choice` of several) or with the reason why it cannot go along (`Declined`). Where an operator with one
data input and one output computes the same with the affine on the other side, `cross` is the whole rule:

    from onnxnorm import rules

    def fancy(site: rules.Site) -> rules.Answer:
        def through(gauge: rules.Gauge) -> rules.Gauge | rules.Declined:
            return rules.Declined("bends at zero") if gauge.shifts or not gauge.non_negative else gauge

        return rules.cross(site, through, through)

    rules.register("com.acme", "Fancy", fancy)

`onnxnorm.testing.check_rule` tests a rule against the operator's definition in NumPy.
"""

from __future__ import annotations

from onnxnorm.affine.channel import ChannelAffine, Gauge
from onnxnorm.affine.interface import Answer, Cause, Choice, Constant, Declined, Edit, Rule, Settled, Site
from onnxnorm.affine.rules import register, unregister
from onnxnorm.affine.rules.crossing import cross

__all__ = [
    "Answer",
    "Cause",
    "ChannelAffine",
    "Choice",
    "Constant",
    "Declined",
    "Edit",
    "Gauge",
    "Rule",
    "Settled",
    "Site",
    "cross",
    "register",
    "unregister",
]
