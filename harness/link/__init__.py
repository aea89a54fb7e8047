"""The wire protocol between host and board: framing, messages, and the client that keeps inference exactly once."""
