"""What users of papermill find again in our output notebooks, and readers of its metadata.

Pure functions over notebooks and the values that tell how a run stands; papermill itself is not
needed. Documented in `docs/how-to/papermill.md`.
"""
