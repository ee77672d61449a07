"""WebSocket (RFC 6455) over any accepted tunnel, whichever HTTP version it came by (RFC 8441)."""
