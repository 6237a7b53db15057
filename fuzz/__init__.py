"""Searches for inputs on which the toolkit fails otherwise than by its own error: `python -m fuzz NAME`."""
