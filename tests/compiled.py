"""Whether the server under test is a compiled one (``setup.py`` tells when it is)."""

from __future__ import annotations

import pytest

from hyperserver.runtime.worker import is_compiled

COMPILED = is_compiled()

#: For tests that derive from one of those classes, which only the source allows.
from_source = pytest.mark.skipif(COMPILED, reason="the classes it derives from are compiled here")
