"""The routes of runs, and the execute call that is a thin layer on them."""
