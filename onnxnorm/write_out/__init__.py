"""Normalization nodes written out in standard operators: the mirror of `recognize`."""
