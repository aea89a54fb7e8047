"""The ground: what a micro wake word is, and what ESPHome and TFLite Micro do with it. Imports no other root."""

__version__ = "0.1.0"
