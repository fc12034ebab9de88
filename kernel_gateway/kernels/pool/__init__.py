"""Warm kernels: started before anybody asks for them. Start reading at `launcher.py`."""
