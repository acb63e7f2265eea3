"""What a `Tap` sees, told to others.

This room stands beside the core: it uses its vocabulary (`tap`, `events`, `options`, `stats`, and
the other flat files) and none of its rooms, so that a session can be observed without being
touched. `core/net` gives its clients these taps.
"""
