"""The places where a model can run, all with the interface of `harness.targets.base`."""
