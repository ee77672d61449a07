from __future__ import annotations

import pytest

from hyperserver.config import from_mapping
from hyperserver.errors import ConfigError


def test_pings_can_be_switched_off() -> None:
    """As the setting's documentation says."""
    assert from_mapping({"websocket": {"ping_interval": "0s"}}).websocket.ping_interval == 0


@pytest.mark.parametrize("name", ["ping_timeout", "close_timeout"])
def test_other_times_are_more_than_nothing(name: str) -> None:
    with pytest.raises(ConfigError, match=f"`websocket.{name}`: must be more than zero"):
        from_mapping({"websocket": {name: "0s"}})
