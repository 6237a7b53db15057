"""Reads models from files and writes them; large weights stay in files."""
