"""Our pytest plugin in a pytest run of its own: by its entry point where the package is installed, else by name."""

from importlib import metadata

INSTALLED = any(entry.name == "mww" for entry in metadata.entry_points(group="pytest11"))
PLUGIN = [] if INSTALLED else ["-p", "harness.pytest_plugin"]
ALONE = [*PLUGIN, "-p", "no:pytest_embedded", "-p", "no:hypothesispytest"]
"""The same without other plugins, whose import takes half of the time of a run with one small test."""
