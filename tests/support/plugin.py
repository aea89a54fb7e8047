"""Our pytest plugin in a pytest run of its own: by its entry point where the package is installed, else by name."""

from importlib import metadata

INSTALLED = any(entry.name == "mww" for entry in metadata.entry_points(group="pytest11"))
PLUGIN = [] if INSTALLED else ["-p", "harness.pytest_plugin"]
