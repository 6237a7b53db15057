"""Readers, which tell how each operator continues the polynomial form of its operands."""
