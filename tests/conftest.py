"""Settings of all tests: generated examples are the same in each run, without a time limit for any of them.

An example that fails by chance, or on a slow machine only, says nothing about the change at which it appeared. To
look for new ones: ``HYPOTHESIS_PROFILE=explore python -m pytest ...``.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

settings.register_profile("same", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("explore", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))
