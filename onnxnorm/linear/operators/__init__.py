"""Linear operators as steps of a merge, one file for each family."""
