"""Parameters of a notebook: read from options, written as source, put into the notebook, found."""
