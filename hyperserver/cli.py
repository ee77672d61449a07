"""The command line. A user's mistake is one clear line on standard error and an exit code:
2 usage, 3 the application failed to load or start, 78 configuration, 1 anything else.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

from hyperserver import __version__
from hyperserver.config.load import load_file
from hyperserver.config.schema import TLS, Config, Listen
from hyperserver.errors import HyperserverError, UsageError


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, and not the whole usage with it."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see hyperserver --help")


def build_parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="hyperserver",
        description="An ASGI server for HTTP/1.1, HTTP/2 and WebSocket on asyncio, uvloop or trio.",
        allow_abbrev=False,
    )
    parser.add_argument("app", nargs="?", metavar="module:attribute", help="the application")
    parser.add_argument("-c", "--config", metavar="FILE", help="read the configuration from FILE")
    parser.add_argument(
        "-b",
        "--bind",
        action="append",
        metavar="ADDRESS",
        help='"host:port", "[v6]:port", "unix:/path" or "fd:N"; may be repeated',
    )
    parser.add_argument(
        "--tls-certificate",
        metavar="FILE",
        help="speak TLS on every listener but Unix sockets, with this certificate chain (PEM)",
    )
    parser.add_argument("--tls-key", metavar="FILE", help="the certificate's private key (PEM)")
    parser.add_argument(
        "--dev-tls",
        action="store_true",
        help="speak TLS with a certificate made for this machine, for development",
    )
    parser.add_argument(
        "--worker", choices=("auto", "asyncio", "uvloop", "trio"), help="the event loop"
    )
    parser.add_argument(
        "--http1-engine", choices=("auto", "httptools", "h11"), help="the HTTP/1 parser"
    )
    parser.add_argument(
        "--websocket-engine",
        choices=("auto", "websockets", "wsproto"),
        help="what reads WebSocket frames",
    )
    parser.add_argument("--app-dir", metavar="DIR", help="put DIR first on the import path")
    parser.add_argument(
        "--factory", action="store_true", default=None, help="the attribute returns the application"
    )
    parser.add_argument("--lifespan", choices=("auto", "on", "off"))
    parser.add_argument("--root-path", metavar="PATH", help="prefix under which a proxy mounts us")
    parser.add_argument(
        "--log-level", choices=("debug", "info", "warning", "error", "critical"), default=None
    )
    parser.add_argument(
        "--access-log",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="one line per request on standard output",
    )
    parser.add_argument("--version", action="version", version=f"hyperserver {__version__}")
    return parser


def configuration(arguments: argparse.Namespace) -> Config:
    """The file's configuration, with what the command line says on top."""
    config = load_file(arguments.config) if arguments.config else Config()
    changes: dict[str, Any] = {
        name: value
        for name in ("app", "app_dir", "factory", "worker", "lifespan", "root_path")
        if (value := getattr(arguments, name)) is not None
    }
    changes["tls"], changes["listen"] = _tls_and_listeners(config, arguments)
    if arguments.http1_engine:
        changes["http1"] = dataclasses.replace(config.http1, engine=arguments.http1_engine)
    if arguments.websocket_engine:
        changes["websocket"] = dataclasses.replace(
            config.websocket, engine=arguments.websocket_engine
        )
    log = config.log
    if arguments.log_level:
        log = dataclasses.replace(log, level=arguments.log_level)
    if arguments.access_log is not None:
        log = dataclasses.replace(log, access=arguments.access_log)
    config = dataclasses.replace(config, log=log, **changes)
    if config.app is None:
        raise UsageError(
            'no application: name it as "hyperserver package.module:attribute", '
            "or as `app` in a file given with --config"
        )
    return config


def _tls_and_listeners(
    config: Config, arguments: argparse.Namespace
) -> tuple[TLS, tuple[Listen, ...]]:
    tls = config.tls
    listens = config.listen
    if arguments.bind:
        listens = (Listen(bind=tuple(arguments.bind)),)
    given = (arguments.tls_certificate, arguments.tls_key)
    if given != (None, None):
        if None in given:
            raise UsageError("--tls-certificate and --tls-key go together; see hyperserver --help")
        if arguments.dev_tls:
            raise UsageError("--dev-tls makes a certificate of its own; give no --tls-certificate")
        tls = dataclasses.replace(
            tls, certificate=given[0], key=given[1], certificates=(), dev=False
        )
    elif arguments.dev_tls:
        tls = dataclasses.replace(
            tls,
            dev=True,
            certificate=None,
            key=None,
            key_password_file=None,
            key_password_env=None,
            certificates=(),
        )
    elif not arguments.bind or not tls.is_set_up:
        return tls, listens
    # Where TLS is set up, no address named on the command line may be plaintext by an oversight.
    listens = tuple(_with_tls(listens))
    if not any(listen.tls for listen in listens):
        if given != (None, None) or arguments.dev_tls:
            option = "--dev-tls" if arguments.dev_tls else "--tls-certificate"
            raise UsageError(f"{option}: there are only Unix sockets, which do without TLS")
        tls = TLS()
    return tls, listens


def _with_tls(listens: tuple[Listen, ...]) -> Iterator[Listen]:
    """The same addresses, all but Unix sockets with TLS: those do not leave the machine. Those that
    redirect to https stay as they are.
    """
    for listen in listens:
        if listen.redirect is not None:
            yield listen
            continue
        local = tuple(bind for bind in listen.bind if bind.startswith("unix:"))
        others = tuple(bind for bind in listen.bind if bind not in local)
        if others:
            yield dataclasses.replace(listen, bind=others, tls=True)
        if local:
            yield dataclasses.replace(listen, bind=local)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code."""
    try:
        config = configuration(build_parser().parse_args(argv))
        from hyperserver.observe.logs import configure
        from hyperserver.runtime.serve import run

        configure(config.log.level)
        assert config.app is not None
        return run(config.app, config)
    except HyperserverError as error:
        print(*(f"hyperserver: {line}" for line in _lines(error)), sep="\n", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130


def _lines(error: HyperserverError) -> list[str]:
    """Several configuration errors have a line each; a traceback stays one block."""
    text = str(error)
    return text.splitlines() if error.exit_code == 78 else [text]
