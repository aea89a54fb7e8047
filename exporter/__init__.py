"""What becomes a model: conversion, verification, arena, manifest, features. Never imports `harness`."""

__version__ = "0.1.0"
