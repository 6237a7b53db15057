"""Prepares a model for what comes after folding: another input, quantization to integers, half precision."""
