"""What is known of a graph (opsets, constants, shapes), and the edits on it."""
