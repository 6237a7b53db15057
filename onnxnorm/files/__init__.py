"""Writes files whole or not at all."""
