"""The endpoint without turn detection, `/stt/websocket`, without IO."""
