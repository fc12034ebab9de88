"""Unit tests are pure: a slow example tells of the machine that runs it and not of the code.

Examples are different ones each time, and a test that needs many of them asks for them: so half of
what Hypothesis takes by default is enough for one run.
"""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("unit", deadline=None, max_examples=50)
settings.load_profile("unit")
