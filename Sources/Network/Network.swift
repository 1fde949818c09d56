// Listeners, framing, connections.
