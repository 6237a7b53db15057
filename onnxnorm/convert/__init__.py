"""Conversion of models to other opsets, up and down."""
