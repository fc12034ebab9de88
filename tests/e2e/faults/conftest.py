"""The control group that a kernel outgrows, as the tests of kernels have it."""

from tests.kernel.test_oom import small_group

__all__ = ["small_group"]
