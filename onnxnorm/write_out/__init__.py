"""Writes normalization nodes out in standard operators: the mirror of `recognize`."""
