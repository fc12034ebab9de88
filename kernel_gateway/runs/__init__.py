"""Floor 2: the heart. Runs as a pure machine; no socket, clock, file or `await` in here."""
