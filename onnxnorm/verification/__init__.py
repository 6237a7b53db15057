"""Proves that a result computes what the original computed, measured against float64."""
