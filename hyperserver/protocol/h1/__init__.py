"""HTTP/1.0 and HTTP/1.1 (RFC 9112), spoken in the vocabulary of HTTP/2.

``connection`` is the state machine; ``head`` reads request heads, ``chunked`` request bodies and
``wire`` writes responses. All of that is shared. An engine is this machine with a library that
splits the field section: ``h11_engine`` or ``httptools_engine``.
"""
