"""What it takes to release: constraint files, checks, and the trial of an installed package."""
