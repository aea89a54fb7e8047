"""TFLM's memory allocation, simulated from a model file alone: its allocators, kernels' Prepare and memory planner.

Modules and functions carry TFLM's own names and follow its order; sizes that change with a version stand in `runtime`.
"""
