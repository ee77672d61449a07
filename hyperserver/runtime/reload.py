"""What a SIGHUP asks for: the configuration as it is now, checked as a whole before any of it is
in force.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from hyperserver.config.changes import Changes, changes, without
from hyperserver.config.schema import Config
from hyperserver.errors import ConfigError, HyperserverError
from hyperserver.observe.logs import logger
from hyperserver.runtime.log_files import check_logs

#: Of a preloaded application, what cannot change any more.
_PRELOADED = ("app", "app_dir", "factory", "mount")


class Reloading:
    """The configurations that workers have, by generation; ``reread`` gives the one of now."""

    def __init__(self, config: Config, reread: Callable[[], Config] | None) -> None:
        self.configs = {0: config}
        self.config = config
        self._reread = reread

    def read(self, generation: int) -> Changes | None:
        """Read and check it; what is to change. None if it is refused, which has been logged.

        What can be changed while serving is in every generation's configuration from then on, the
        rest in that of ``generation``.
        """
        try:
            new = self._reread() if self._reread is not None else self.config
            if not new.names_application:
                raise ConfigError("`app`: must be set")
            check_certificates(new)
            check_logs(new.log)
            found = changes(self.config, new)
            moved = tuple(name for name in found.worker if name.partition(".")[0] in _PRELOADED)
            if new.preload and moved:
                rest = tuple(name for name in found.worker if name not in moved)
                found = Changes(found.live, rest, found.restart + moved)
                kept = {name: getattr(self.config, name) for name in _PRELOADED}
                new = dataclasses.replace(new, **kept)
            self._take(without(self.config, new, "restart"), generation)
        except HyperserverError as error:
            for line in str(error).splitlines():
                logger.error("the reload is refused, nothing changes: %s", line)
            return None
        if found.restart:
            logger.warning("this needs a restart: %s", ", ".join(found.restart))
        return found

    def _take(self, new: Config, generation: int) -> None:
        configs = {
            number: without(old, new, "restart", "worker") for number, old in self.configs.items()
        }
        self.configs = configs | {generation: new}
        self.config = new

    def settled(self, generation: int) -> None:
        """All workers have this generation, also where a newer one has been given up."""
        self.config = self.configs[generation]
        self.configs = {generation: self.config}


def check_certificates(config: Config) -> None:
    """Read them all, for nobody. Raises ConfigError."""
    if config.tls.is_set_up and not config.tls.dev:
        from hyperserver.runtime.tls_contexts import load_all

        load_all(config.tls)
