"""The probe application on trio as on a system without epoll."""

from __future__ import annotations

from types import SimpleNamespace

from hyperserver.runtime import transport_trio
from tests.e2e.apps.probe import app

__all__ = ["app"]

vars(transport_trio)["select"] = SimpleNamespace()
