"""Converts models to other opsets, up and down."""
