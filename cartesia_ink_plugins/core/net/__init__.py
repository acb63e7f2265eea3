"""Sessions on asyncio: sockets, clocks, and the clients that applications use."""
