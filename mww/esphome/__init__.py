"""What ESPHome is: its contract, chips, manifest, front-end and detection rule."""
