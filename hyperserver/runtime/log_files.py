"""Where the log and the access log go, by the configuration."""

from __future__ import annotations

import os
import sys

from hyperserver.config.schema import Config, Log
from hyperserver.errors import ConfigError, Mistakes
from hyperserver.observe.access_log import AccessLog
from hyperserver.observe.files import LogFile
from hyperserver.observe.logs import configure, log_file, logger


def open_log(config: Config) -> None:
    """Send the server's log to where ``config`` says. Raises ConfigError."""
    try:
        configure(config.log.level, pretty=config.dev, path=config.log.file)
    except OSError as error:
        raise _mistake("log.file", config.log.file, error) from None


def open_access_log(config: Config) -> AccessLog | None:
    """The access log, if there is to be one. Raises ConfigError."""
    path = config.log.access_file
    if not config.log.access:
        return None
    if path is None:
        color = config.dev and sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        return AccessLog(sys.stdout, color=color)
    try:
        return AccessLog(LogFile(path))
    except OSError as error:
        raise _mistake("log.access_file", path, error) from None


def reopen(access_log: AccessLog | None = None) -> None:
    """The files may have been moved away: go on in new ones."""
    try:
        if access_log is not None:
            access_log.reopen()
        if (file := log_file()) is not None:
            file.reopen()
    except OSError as error:
        logger.error("cannot open %s again: %s", error.filename, error.strerror)


def check_logs(log: Log) -> None:
    """Whether they can be written, without making them. Raises ConfigError."""
    mistakes = Mistakes()
    for key, path in (("file", log.file), ("access_file", log.access_file)):
        if path is not None:
            with mistakes:
                _check(f"log.{key}", path)
    mistakes.raise_all()


def _check(key: str, path: str) -> None:
    folder = os.path.dirname(path) or "."
    if os.path.isdir(path):
        raise ConfigError(f"`{key}`: {path} is a folder")
    if not os.path.isdir(folder):
        raise ConfigError(f"`{key}`: there is no folder {folder}; make it, or name another file")
    if not os.access(path if os.path.exists(path) else folder, os.W_OK):
        raise ConfigError(f"`{key}`: no permission to write {path}")


def _mistake(key: str, path: str | None, error: OSError) -> ConfigError:
    return ConfigError(f"`{key}`: cannot open {path}: {error.strerror}")
