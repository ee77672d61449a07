"""What the pure rings cost, with no loop, no socket and no other process: bytes in, events, scope,
messages, bytes out.
"""
