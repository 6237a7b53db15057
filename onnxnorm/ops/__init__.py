"""Defines the custom operators of the domain `onnxnorm`: their schemas and portable bodies."""
