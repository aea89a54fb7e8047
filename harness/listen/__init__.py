"""Listening live: sound as it comes, through front-end, models and ESPHome's rule, with what was heard kept."""
