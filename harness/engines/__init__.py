"""Interpreters on this machine, each in a worker process.

A model that crashes or hangs its interpreter costs a single error. `catalog` lists them, `process` is the parent's
side, `worker` and `interpreters` the child's.
"""
