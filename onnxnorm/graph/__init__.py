"""Holds the facts about a graph (opsets, constants, shapes), and the edits on it."""
