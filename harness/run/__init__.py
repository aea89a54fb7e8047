"""The parts of a run: options, targets, streaming, judgement, causes, results. `harness.check` combines them."""
