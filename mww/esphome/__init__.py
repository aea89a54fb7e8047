"""ESPHome's side: its contract, chips, manifest, front-end and detection rule."""
