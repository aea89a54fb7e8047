"""What a model is calibrated with."""
