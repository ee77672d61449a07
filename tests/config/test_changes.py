from __future__ import annotations

from dataclasses import replace

import pytest

from hyperserver.config import (
    TLS,
    Config,
    Limits,
    Listen,
    Log,
    Mount,
    Process,
    Proxy,
    Response,
    Timeouts,
)
from hyperserver.config.changes import Changes, changes, without
from hyperserver.errors import ConfigError

OLD = Config(app="shop:app")


def test_nothing_has_changed() -> None:
    assert changes(OLD, Config(app="shop:app")) == Changes()
    assert not Changes().anything


def test_each_change_is_named_by_what_it_needs() -> None:
    new = Config(
        app="shop:other",
        workers=4,
        preload=True,
        limits=Limits(request_fields=64),
        timeouts=Timeouts(drain=1.0, write=2.0),
        log=Log(level="debug"),
        process=Process(umask=0o27, env_file="a.env"),
        listen=(Listen(bind=("127.0.0.1:1",)),),
    )
    assert changes(OLD, new) == Changes(
        ("workers", "limits.request_fields", "timeouts.write", "timeouts.drain", "log.level"),
        ("app", "process.env_file"),
        ("preload", "listen.bind", "process.umask"),
    )


def test_mounts_need_fresh_workers() -> None:
    old = replace(OLD, mount=(Mount("a:b", "/a"),))
    new = replace(
        OLD,
        mount=(Mount("a:c", "/b"),),
        server_names=("a.test",),
        server_header=False,
        response=Response(("x-a: b",)),
        proxy=Proxy(("unix",), host=True),
    )
    assert changes(old, new) == Changes(
        ("server_names", "server_header", "proxy.trust", "proxy.host", "response.headers"),
        ("mount.app", "mount.path"),
    )
    assert changes(OLD, old).worker == ("mount",)
    assert without(old, new, "restart", "worker").mount == old.mount
    assert without(old, new, "restart").mount == new.mount


def test_listeners_more_or_fewer_are_one_change() -> None:
    assert changes(OLD, replace(OLD, listen=(Listen(), Listen()))).restart == ("listen",)


def test_without_what_needs_a_restart() -> None:
    new = Config(
        app="shop:other",
        preload=True,
        process=Process(umask=0o27, env_file="a.env"),
        listen=(Listen(bind=("127.0.0.1:1",)),),
        log=Log(level="debug"),
    )
    assert without(OLD, new, "restart") == Config(
        app="shop:other", process=Process(env_file="a.env"), log=Log(level="debug")
    )
    assert without(OLD, new, "restart", "worker") == Config(app="shop:app", log=Log(level="debug"))


def test_what_does_not_go_together_without_a_restart() -> None:
    secure = Config(
        app="a:b", listen=(Listen(tls=True),), tls=TLS(certificate="c.pem", key="k.pem")
    )
    with pytest.raises(ConfigError, match="listen"):
        without(secure, OLD, "restart")
