"""A VIM in memory that keeps the whole contract, refuses what a real one would, and fails where a script says so."""
