"""The routes that Jupyter's clients know, in their shapes."""
