"""Making a model smaller without changing what it computes: `exporter.optimization.optimize` is the way in."""
