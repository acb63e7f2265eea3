"""One audio stream over as many connections as it takes; knows no endpoint and does no IO."""
