"""Interpreters on this machine, each in a worker process: a model that crashes or hangs one costs one error.

`catalog` knows which there are, `process` is the parent's side, `worker` and `interpreters` the child's.
"""
