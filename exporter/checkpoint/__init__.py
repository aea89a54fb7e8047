"""Trained weights by role, from and to the checkpoints that trainers leave; the layout is recognised, not asked for."""

from exporter.checkpoint.loading import Checkpoint, load_checkpoint, weights_file

__all__ = ["Checkpoint", "load_checkpoint", "weights_file"]
