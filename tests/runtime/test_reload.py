"""Reading a configuration again: whole or not at all."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from hyperserver.config import TLS, Config, Limits, Listen, Log, Mount
from hyperserver.errors import ConfigError
from hyperserver.runtime.reload import Reloading

OLD = Config(app="shop:app")


def reading(new: Config, old: Config = OLD) -> Reloading:
    return Reloading(old, lambda: new)


def test_without_anything_to_read_nothing_has_changed() -> None:
    reloading = Reloading(OLD, None)
    changes = reloading.read(1)
    assert changes is not None
    assert not changes.anything
    assert reloading.configs == {0: OLD, 1: OLD}


def test_what_is_live_is_everybodys_and_the_rest_the_next_generations() -> None:
    new = replace(OLD, root_path="/shop", log=Log(level="debug"), preload=True)
    reloading = reading(new)
    changes = reloading.read(1)
    assert changes is not None
    assert reloading.configs[0] == replace(OLD, log=Log(level="debug"))
    assert reloading.configs[1] == replace(new, preload=False) == reloading.config
    reloading.settled(0)  # the new one has been given up
    assert reloading.config == replace(OLD, log=Log(level="debug"))


def refuse() -> Config:
    raise ConfigError("one\ntwo")


@pytest.mark.parametrize(
    ("reread", "said"),
    [
        (refuse, ["one", "two"]),
        (Config, ["`app`: must be set"]),
        (
            lambda: replace(
                OLD, listen=(Listen(tls=True),), tls=TLS(certificate="none.pem", key="none.key")
            ),
            ["`tls.certificate`: cannot read none.pem"],
        ),
    ],
)
def test_a_mistake_changes_nothing(
    reread: Callable[[], Config], said: list[str], caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    reloading = Reloading(OLD, reread)
    logging.getLogger("hyperserver").propagate = True
    with caplog.at_level("ERROR", "hyperserver"):
        assert reloading.read(1) is None
    assert (reloading.configs, reloading.config) == ({0: OLD}, OLD)
    for line in said:
        assert f"the reload is refused, nothing changes: {line}" in caplog.text


def test_a_preloaded_application_stays(caplog: pytest.LogCaptureFixture) -> None:
    old = replace(OLD, preload=True)
    reloading = reading(replace(old, app="shop:other", limits=Limits(request_fields=9)), old)
    changes = reloading.read(1)
    assert changes is not None
    assert (changes.worker, changes.restart) == ((), ("app",))
    assert reloading.config.app == "shop:app"
    old = replace(old, mount=(Mount("a:b", "/a"),))
    reloading = reading(replace(old, mount=(Mount("a:c", "/a"),), root_path="/x"), old)
    changes = reloading.read(1)
    assert changes is not None
    assert (changes.worker, changes.restart) == (("root_path",), ("mount.app",))
    assert (reloading.config.mount, reloading.config.root_path) == (old.mount, "/x")


def test_mounts_alone_are_something_to_serve() -> None:
    old = Config(mount=(Mount("a:b"),))
    assert reading(old, old).read(1) is not None
