"""Manages the process that this runs in: children, memory, the garbage collector."""
