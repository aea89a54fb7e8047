"""Trained weights by role, from and to the checkpoints of the known trainers; the layout is recognised."""

from exporter.checkpoint.loading import Checkpoint, best_weights, load_checkpoint, weights_file

__all__ = ["Checkpoint", "best_weights", "load_checkpoint", "weights_file"]
