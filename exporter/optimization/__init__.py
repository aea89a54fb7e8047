"""Makes a model smaller without changing its results; the entry is `exporter.optimization.optimize`."""
