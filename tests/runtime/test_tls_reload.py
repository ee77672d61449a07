from __future__ import annotations

import datetime as dt
import logging
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from hyperserver.config import TLS
from hyperserver.protocol.client_hello import ClientHello
from hyperserver.runtime import tls_reload
from hyperserver.runtime.tls_reload import TLSContexts, TLSStore
from tests.conftest import ALPN, Certificate

HELLO = ClientHello("a.test", [])


class Watched:
    """A store whose files can be exchanged, being watched."""

    def __init__(self, folder: Path, made: Certificate, reload: float) -> None:
        self.files = Certificate(folder / "chain.pem", folder / "key.pem")
        self.put(made)
        tls = TLS(certificate=str(self.files.chain), key=str(self.files.key), reload=reload)
        self.store = TLSStore(tls)
        self.contexts: TLSContexts = self.store.contexts(ALPN)

    def put(self, made: Certificate) -> None:
        shutil.copy2(made.chain, self.files.chain)
        shutil.copy2(made.key, self.files.key)

    def run(self, scenario: Callable[[], Awaitable[None]]) -> None:
        async def main() -> None:
            with anyio.fail_after(20):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self.store.watch)
                    await scenario()
                    tasks.cancel_scope.cancel()

        anyio.run(main)


MakeWatched = Callable[..., Watched]


@pytest.fixture
def watched(
    tmp_path: Path, issue: Callable[..., Certificate], caplog: pytest.LogCaptureFixture
) -> MakeWatched:
    caplog.set_level(logging.INFO)

    def make(reload: float = 0.0, **more: Any) -> Watched:
        return anyio.run(build, reload, issue("a.test", **more))

    async def build(reload: float, made: Certificate) -> Watched:
        return Watched(tmp_path, made, reload)

    return make


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await anyio.sleep(0.005)


def test_listeners_with_the_same_protocols_share_their_contexts(watched: MakeWatched) -> None:
    store = watched().store
    assert store.contexts(ALPN) is store.contexts(ALPN)
    assert store.contexts(ALPN) is not store.contexts(("http/1.1",))


def test_what_is_unchanged_keeps_its_context(
    watched: MakeWatched, caplog: pytest.LogCaptureFixture
) -> None:
    one = watched()
    before = one.contexts.current

    async def scenario() -> None:
        one.store.request_reload()
        await until(lambda: one.contexts.current is not before)

    one.run(scenario)
    assert one.contexts.current.choose(HELLO).context is before.choose(HELLO).context
    assert "certificates have been read again" in caplog.text
    assert "new certificate" not in caplog.text


@pytest.mark.parametrize("reload", [0.0, 0.02])
def test_a_new_certificate_is_told(
    watched: MakeWatched,
    issue: Callable[..., Certificate],
    caplog: pytest.LogCaptureFixture,
    reload: float,
) -> None:
    one = watched(reload)
    before = one.contexts.current

    async def scenario() -> None:
        one.put(issue("a.test", "b.test"))
        if not reload:
            one.store.request_reload()
        await until(lambda: one.contexts.current is not before)

    one.run(scenario)
    (found,) = one.contexts.current.choose(HELLO).certificates
    assert found.leaf.names == ("a.test", "b.test")
    assert "new certificate for a.test, b.test until" in caplog.text


def test_an_expired_one_is_not_taken(
    watched: MakeWatched, issue: Callable[..., Certificate], caplog: pytest.LogCaptureFixture
) -> None:
    one = watched()
    before = one.contexts.current
    yesterday = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)

    async def scenario() -> None:
        one.put(issue("a.test", not_after=yesterday))
        one.store.request_reload()
        await until(lambda: "has expired on" in caplog.text)

    one.run(scenario)
    assert one.contexts.current is before
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    (line,) = (record.getMessage() for record in errors)
    assert line.startswith("the certificates in use stay: `tls.certificate`: ")


def test_all_that_is_wrong_with_new_files_is_told_in_a_line_each(
    watched: MakeWatched, caplog: pytest.LogCaptureFixture
) -> None:
    one = watched()

    async def scenario() -> None:
        one.files.chain.unlink()
        one.files.key.unlink()
        one.store.request_reload()
        await until(lambda: caplog.text.count("ERROR") == 2)

    one.run(scenario)
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert [line.partition("`: ")[0] for line in told] == [
        "the certificates in use stay: `tls.certificate",
        "the certificates in use stay: `tls.key",
    ]


def test_one_that_has_expired_meanwhile_is_kept_and_told(
    watched: MakeWatched, caplog: pytest.LogCaptureFixture
) -> None:
    """It hinders nothing else from being read again."""
    yesterday = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
    one = watched(not_after=yesterday)
    before = one.contexts.current

    async def scenario() -> None:
        one.store.announce()
        assert "has expired on" in caplog.text
        one.store.request_reload()
        await until(lambda: one.contexts.current is not before)

    one.run(scenario)


def test_a_bug_of_ours_keeps_what_there_is(
    watched: MakeWatched, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = watched()
    before = one.contexts.current

    def fail(tls: TLS) -> None:
        raise KeyError("bug")

    async def scenario() -> None:
        monkeypatch.setattr(tls_reload, "load_all", fail)
        one.store.request_reload()
        await until(lambda: "KeyError" in caplog.text)
        monkeypatch.undo()
        one.store.request_reload()
        await until(lambda: one.contexts.current is not before)

    one.run(scenario)


def test_a_daily_warning(
    watched: MakeWatched, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = watched(not_after=dt.datetime.now(dt.UTC) + dt.timedelta(days=5))
    monkeypatch.setattr(tls_reload, "_DAY", 0.01)

    async def scenario() -> None:
        await until(lambda: caplog.text.count("expires in 5.0 days") == 2)

    one.run(scenario)
