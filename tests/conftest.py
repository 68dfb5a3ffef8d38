"""What holds for every test: made-up examples are the same in each run, and none has to be found or tried in a time.

An example that fails by chance, or on a slow machine only, tells nothing about the change it turned up at. To look for
new ones: ``HYPOTHESIS_PROFILE=explore python -m pytest ...``.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

settings.register_profile("same", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("explore", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))
