"""What runs a model and judges it: targets, engines, link, detection, verdict."""
