"""Scripts that run files in one runtime each; they import nothing of this project, and run under any Python."""
