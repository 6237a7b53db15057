"""Exports PyTorch modules to ONNX, each normalization as one node."""
