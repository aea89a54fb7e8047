from __future__ import annotations

from hypothesis import HealthCheck, settings

# The first case builds the host library, and the machine may be busy.
settings.register_profile("link", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("link")
