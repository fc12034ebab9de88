"""Floor 4: performs what the pure machine decides, on real kernels and a real store."""
