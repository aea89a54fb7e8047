"""The places a model can run, each behind the one protocol of `harness.targets.base`."""
