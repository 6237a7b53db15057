"""Evaluates ONNX models in float64."""
