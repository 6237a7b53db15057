"""Checks a model at the door: what breaks the rules of ONNX is refused with its place."""
