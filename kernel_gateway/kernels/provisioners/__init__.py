"""How a kernel gets its process, where jupyter_client's own way is too slow.

Every program that uses jupyter_client loads these modules when a kernelspec asks for them, so they
import little. They run in JupyterLab's server and in papermill just as in the gateway.
"""
