"""Floor 1: Jupyter messages as values. Knows the wire; must not know runs, sockets or a clock."""
