"""The same models over releases of ESPHome, library versions and chips: what held before and holds no more."""
