"""The sheet: the table of the papers, and beside it one anatomy of each structure."""
