"""The pipeline behind `optimize`, `fold` and `inspect`."""
