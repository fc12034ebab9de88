"""Unit tests are pure: a slow example tells of the machine that runs it and not of the code."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("unit", deadline=None)
settings.load_profile("unit")
