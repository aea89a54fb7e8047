"""Trained weights by role, from and to the checkpoints that trainers leave; the layout is recognised, not asked for."""

from exporter.checkpoint.loading import Checkpoint, best_weights, load_checkpoint, weights_file

__all__ = ["Checkpoint", "best_weights", "load_checkpoint", "weights_file"]
