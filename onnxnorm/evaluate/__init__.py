"""An evaluator of ONNX models in float64."""
