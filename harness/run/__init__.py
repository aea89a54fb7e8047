"""The parts of a run, which `harness.check` puts together: what it streams on, judges by, keeps and finds."""
