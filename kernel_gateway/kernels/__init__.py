"""Floor 3: the only place that knows ZeroMQ, jupyter_client and processes."""
