"""A Jupyter kernel whose cells are shell commands: `python3 -m kernel_gateway.command_kernel`.

It runs as a kernel of its own, beside a user's project, and imports nothing of the gateway. It does
without jupyter_client, too, whose import would double the time of its start (`wire.py`).

From the outside in: `kernel.py` answers messages, `channels.py` and `wire.py` carry them; `cell.py`
runs one command, with `environment.py`, `processes.py`, `terminal.py`, `console.py`, `waiting.py`
and `proc.py`.
"""
