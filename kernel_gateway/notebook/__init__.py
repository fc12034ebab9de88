"""Floor 5: a notebook as a run: its plan, its kernel, the run itself, and the file it becomes."""
