"""Connects JupyterLab's server to a Kernel Gateway: see `connection`. Imports nothing by itself."""
