"""A kernel that was forked cannot be told from one that was started cold."""
