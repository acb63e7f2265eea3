"""The endpoint with turn detection, `/stt/turns/websocket`, without IO."""
