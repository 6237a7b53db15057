"""Rules that take nodes away without changing a bit of any result, one module for each kind."""

from __future__ import annotations

from onnxnorm.passes.cleaning.site import Rule, Site

__all__ = ["Rule", "Site"]
