"""Turns the developers' checks on for all tests: after every pass the model is looked through for what it broke."""

import os

os.environ["ONNXNORM_DEBUG"] = "1"
