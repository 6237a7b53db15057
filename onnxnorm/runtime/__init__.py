"""Holds sessions of onnxruntime: the native library, inputs, and what is installed."""
