"""Scripts that measure and print a table; each has its baseline in the same run."""
