"""How hypothesis looks for examples. A slow machine is no failure, and by default every run tries the same examples;
`--hypothesis-profile=search` looks for new ones."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("search", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.register_profile("steady", settings.get_profile("search"), derandomize=True)
settings.load_profile("steady")
