"""The certificates in use, and taking new ones without a restart.

New files are read into new contexts in a thread; only when all of them are in order are the
references exchanged, between two turns of the loop. A fault keeps what there is.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

import anyio
import anyio.to_thread

from hyperserver.config.schema_tls import TLS
from hyperserver.errors import ConfigError
from hyperserver.observe.logs import logger
from hyperserver.runtime.certificates import Authority, Loaded, inspect, watched
from hyperserver.runtime.tls_contexts import Selection, load_all

_DAY = 86_400.0
#: Seconds for which files must have stayed the same: whoever renews certificates writes several.
_SETTLED = 0.5
_PATIENCE = 10  # times that we wait for that

Everyone = list[tuple[Loaded, Authority]]
Stamp = list[tuple[int, int, int] | None]


class TLSContexts:
    """A reference to the contexts of the listeners with the same ``alpn``. Raises ConfigError."""

    __slots__ = ("alpn", "current")

    def __init__(self, everyone: Everyone, tls: TLS, alpn: tuple[str, ...]) -> None:
        self.alpn = alpn
        self.current = Selection(everyone, tls, alpn)


class TLSStore:
    """All that ``tls`` names, read from its files. Raises ConfigError where one is of no use."""

    def __init__(self, tls: TLS) -> None:
        self._tls = tls = _made(tls)
        self._next = self._tls
        self._paths = watched(tls)
        self._stamp = _stamp(self._paths)
        self._everyone = load_all(tls)
        self._contexts: dict[tuple[str, ...], TLSContexts] = {}
        self._asked = anyio.Event()
        #: Hosts differ in what their clients must show.
        self.several_policies = _differ(self._everyone)

    def contexts(self, alpn: tuple[str, ...]) -> TLSContexts:
        """For a listener that speaks these protocols. Raises ConfigError."""
        found = self._contexts.get(alpn)
        if found is None:
            found = self._contexts[alpn] = TLSContexts(self._everyone, self._tls, alpn)
        return found

    def announce(self) -> None:
        """Log what certificates there are, and what is to be said of them."""
        for loaded, _ in self._everyone:
            logger.info("certificate for %s, %s", loaded.describe(), loaded.certificate)
        self._warn()

    def _warn(self) -> None:
        for finding in inspect(self._everyone, time.time()):
            (logger.error if finding.is_error else logger.warning)("%s", finding)

    # ---- new files -----------------------------------------------------------------------

    def request_reload(self) -> None:
        """Read the files soon, whether they have changed or not."""
        self._asked.set()

    def change(self, tls: TLS) -> None:
        """Have other settings, if their files can be read; read them soon in any case."""
        self._next = tls
        self.request_reload()

    async def watch(self) -> None:
        """Take new files as they come, and warn once a day of those that will expire."""
        warned = time.monotonic()
        while True:
            interval = min(self._tls.reload / 2 or _DAY, _DAY)
            with anyio.move_on_after(interval):
                await self._asked.wait()
            if self._asked.is_set():
                self._asked = anyio.Event()
                await self._reload()
            elif self._tls.reload and _stamp(self._paths) != self._stamp:
                await self._settle(min(_SETTLED, interval / 5))
                await self._reload()
            elif time.monotonic() - warned > _DAY:
                warned = time.monotonic()
                self._warn()

    async def _settle(self, pause: float) -> None:
        """Wait until the files have not changed for a moment."""
        before = None
        for _ in range(_PATIENCE):
            now = _stamp(self._paths)
            if now == before:
                return
            before = now
            await anyio.sleep(pause)

    async def _reload(self) -> None:
        tls = self._next
        # before reading: what comes later is seen as a change
        paths, self._stamp = self._paths, _stamp(self._paths)
        try:
            tls = _made(tls)
            paths = watched(tls)
            stamp = _stamp(paths)
            everyone, selections = await anyio.to_thread.run_sync(
                self._read, tls, abandon_on_cancel=True
            )
        except ConfigError as error:
            self._next = self._tls
            for line in str(error).splitlines():
                logger.error("the certificates in use stay: %s", line)
            return
        except Exception:  # noqa: BLE001 - a bug in here must not end the server
            logger.exception("the certificates in use stay")
            return
        before = {loaded.digest for loaded, _ in self._everyone}
        self._everyone = everyone
        self._tls, self._paths, self._stamp = tls, paths, stamp
        self.several_policies = _differ(everyone)
        for contexts, selection in zip(self._contexts.values(), selections, strict=True):
            contexts.current = selection
        for loaded, _ in everyone:
            if loaded.digest not in before:
                logger.info("new certificate for %s, %s", loaded.describe(), loaded.certificate)
        logger.info("certificates have been read again")
        self._warn()

    def _read(self, tls: TLS) -> tuple[Everyone, Sequence[Selection]]:
        """The files as they are now, and contexts of them. Raises ConfigError."""
        everyone = load_all(tls)
        known = {loaded.digest for loaded, _ in self._everyone}
        for finding in inspect(everyone, time.time()):
            news = any(
                loaded.digest not in known and finding.setting.startswith(loaded.place)
                for loaded, _ in everyone
            )
            if finding.is_error and news:
                raise ConfigError(str(finding))
        return everyone, [
            Selection(everyone, tls, contexts.alpn, contexts.current)
            for contexts in self._contexts.values()
        ]


def _differ(everyone: Everyone) -> bool:
    return len({authority.policy for _, authority in everyone}) > 1


def _made(tls: TLS) -> TLS:
    """With the certificate that is made for development, if that is asked for."""
    if not tls.dev:
        return tls
    from hyperserver.runtime.dev_tls import with_dev_certificate

    return with_dev_certificate(tls)


def _stamp(paths: Sequence[str]) -> Stamp:
    """What changes whenever a file does, also where a link is all that was exchanged."""
    stamps: Stamp = []
    for path in paths:
        try:
            status = os.stat(path)
        except (OSError, ValueError):
            stamps.append(None)
        else:
            stamps.append((status.st_ino, status.st_size, status.st_mtime_ns))
    return stamps
