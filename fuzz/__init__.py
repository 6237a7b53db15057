"""Searches for inputs on which the toolkit fails otherwise than by its own error: `structural.py`, `coverage.py`."""
