"""Unit tests are pure, so a slow example tells of the machine that runs them and not of the code."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("unit", deadline=None)
settings.load_profile("unit")
