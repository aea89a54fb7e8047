"""Making a model smaller without changing what it computes: `exporter.optimize` is the way in."""
