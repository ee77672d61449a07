"""Which engine serves a connection."""

from __future__ import annotations

import sys

import pytest

from hyperserver.errors import ConfigError
from hyperserver.protocol.interface import Limits, ResponseDefaults
from hyperserver.protocol.negotiate import HTTP1_ENGINES, choose_engines, open_http1


@pytest.mark.parametrize("name", HTTP1_ENGINES)
def test_an_engine_is_chosen_by_name(name: str) -> None:
    engines = choose_engines(name)
    assert engines.http1_name == name
    assert engines.http1_version[0].isdigit()


def test_auto_prefers_the_fast_engine() -> None:
    assert choose_engines() == choose_engines("auto")
    assert choose_engines().http1_name == "httptools"


@pytest.mark.parametrize("name", ["nonesuch", "", "Httptools"])
def test_an_engine_that_is_not_there_is_the_users_to_mend(name: str) -> None:
    with pytest.raises(ConfigError, match=r"http1\.engine"):
        choose_engines(name)


def test_an_engine_whose_library_is_missing_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "httptools", None)
    monkeypatch.delitem(sys.modules, "hyperserver.protocol.h1.httptools_engine", raising=False)
    with pytest.raises(ConfigError, match="pip install httptools"):
        choose_engines("httptools")


@pytest.mark.parametrize("name", HTTP1_ENGINES)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_connection_begins_at_the_given_time(name: str, scheme: str) -> None:
    limits = Limits(request_head_timeout=7)
    connection = open_http1(choose_engines(name), limits, ResponseDefaults(), scheme, 100.0)
    assert connection.next_timeout() == 107.0
    connection.receive_data(b"GET https://a/ HTTP/1.0\r\n\r\n", 100.0)
    (received,) = connection.events()
    assert received.scheme == scheme  # type: ignore[union-attr] # of the transport, not the target
