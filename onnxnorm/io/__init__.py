"""Models read from files and written to them; large weights stay in files."""
