from __future__ import annotations

import importlib.util
from pathlib import Path

from hyperserver.config import (
    TLS,
    Certificate,
    ClientAuth,
    Config,
    Listen,
    Mount,
    Process,
    Timeouts,
)
from hyperserver.runtime.reloader import _forget_compiled, folders_of_code, hasty, named_files


def test_nobody_waits_for_the_end_of_a_child() -> None:
    timeouts = hasty(Config(timeouts=Timeouts(drain=30.0, shutdown_delay=5.0))).timeouts
    assert timeouts.drain <= 1
    assert timeouts.disconnect_grace < timeouts.drain
    assert timeouts.shutdown <= 2
    assert timeouts.shutdown_delay == 0
    assert hasty(Config(timeouts=Timeouts(drain=0.5))).timeouts.drain == 0.5


def test_all_files_that_are_read_are_watched() -> None:
    config = Config(
        app_dir="/srv",
        mount=(Mount("api:app", "/api", app_dir="/api"), Mount("a:b", "/b")),
        listen=(Listen(tls=True, acme_webroot="/var/acme"),),
        process=Process(env_file="/env", pid_file="/pid", chdir="/srv"),
        tls=TLS(
            certificates=(
                Certificate("/a.pem", "/a.key"),
                Certificate("/b.pem", "/b.key", client_auth=ClientAuth("required", "/ca.pem")),
            ),
            client_auth=ClientAuth("optional", "/clients.pem", "/crl.pem"),
        ),
    )
    assert set(named_files(config)) == {
        "/env", "/a.pem", "/a.key", "/b.pem", "/b.key", "/ca.pem", "/clients.pem", "/crl.pem",
    }  # fmt: skip
    assert folders_of_code(config) == ("/srv", "/api")


def test_bytecode_of_what_has_changed_is_forgotten(tmp_path: Path) -> None:
    source = tmp_path / "shop.py"
    cached = Path(importlib.util.cache_from_source(str(source)))
    cached.parent.mkdir()
    cached.touch()
    _forget_compiled(str(source))
    assert not cached.exists()
    _forget_compiled(str(source))
    _forget_compiled(str(tmp_path / "page.html"))
