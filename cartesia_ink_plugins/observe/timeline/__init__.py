"""A recording as a picture: what happened in a call, when, and why a turn was slow.

`model` makes turns, replies and connections of the recorded moments, `latency` explains them, and
`page`, `summary` and `exports` write them down. None of them knows a clock or a network.
"""
