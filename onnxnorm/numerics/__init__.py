"""Holds arrays, rounding and the arithmetic of batch normalization."""
