"""Live listening: sound through front-end, models and ESPHome's rule, with recordings of detections."""
