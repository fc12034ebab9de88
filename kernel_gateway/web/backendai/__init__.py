"""The user API of Backend.AI, as its own client speaks it, over the one engine."""
