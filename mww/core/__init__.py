"""Errors, files, scratch folders, progress and package data: nothing here knows what a model is."""
