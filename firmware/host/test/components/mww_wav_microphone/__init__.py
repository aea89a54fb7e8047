"""A microphone that plays a file, for tests on ESPHome's host platform."""
