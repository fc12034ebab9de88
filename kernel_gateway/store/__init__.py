"""Floor 3: what outlives a process: runs, log records, spill files, sessions, keys.

The only place that knows the database. Start reading at `store.py`.
"""
