"""How a host reaches the virtual board: each module serves one kind of port, for one host at a time.

A transport never blocks but in `poll`, and never waits for the host: what a host does not read is dropped when the
buffer is full, as a UART would drop it.
"""
