"""The TFLite file format: read, checked and written here, and nowhere else."""
