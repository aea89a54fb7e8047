"""Runs a model and judges its outputs: targets, engines, the link, verdicts and reports."""
