"""Arrays, rounding and the arithmetic of batch normalization."""
