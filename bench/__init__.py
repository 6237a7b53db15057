"""Measurements of onnxnorm, each runnable as `python -m bench NAME`."""
