"""Ring 1: pure protocol state machines. Bytes in, events out; commands in, bytes out.

Nothing here awaits, reads a clock, opens a socket, logs, or knows the configuration's shape.
"""
