from __future__ import annotations

from tests.harness.conftest import clips, models, spoken

__all__ = ["clips", "models", "spoken"]
