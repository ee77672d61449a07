"""The command line's options, made from the schema."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from typing import NoReturn

from hyperserver import __version__
from hyperserver.config.schema import Config
from hyperserver.config.settings import Setting, sections
from hyperserver.config.sources import Given, Sources, find_file, from_environment, scalar_from_text
from hyperserver.errors import UsageError

_PREFIX = "setting "  # of what argparse keeps for us: no option has such a name


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, and not the whole usage with it."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see {self.prog} --help")


def build_parser(
    prog: str = "hyperserver",
    description: str = "An ASGI server for HTTP/1.1, HTTP/2 and WebSocket on asyncio, uvloop or trio.",
    epilog: str | None = None,
    config: type = Config,
) -> Parser:
    """A parser with an option for every setting of ``config``."""
    parser = Parser(
        prog=prog,
        usage=f"{prog} [options] [module:attribute]",
        description=description,
        epilog=epilog,
        allow_abbrev=False,
    )
    parser.add_argument("app", nargs="?", metavar="module:attribute", help="the application")
    parser.add_argument("--version", action="version", version=f"hyperserver {__version__}")
    general = parser.add_argument_group("general")
    general.add_argument(
        "-c",
        "--config",
        metavar="FILE",
        help="read the configuration from FILE, else from hyperserver.toml or from "
        "[tool.hyperserver] in pyproject.toml here",
    )
    for section, settings in sections(config):
        flagged = [each for each in settings if each.flag and each.path != ("app",)]
        if flagged:
            group = general if section is None else parser.add_argument_group(_title(section))
            for each in flagged:
                _add(group, each)
    return parser


def _title(section: Setting) -> str:
    return f"[[{section.dotted}]], all of them" if section.is_list else f"[{section.dotted}]"


def _add(group: argparse._ArgumentGroup, setting: Setting) -> None:
    assert setting.flag is not None
    short = setting.meta.get("short")
    names = [short, setting.flag] if short else [setting.flag]
    options: dict[str, object] = {"dest": _PREFIX + setting.dotted, "help": _help}
    if setting.type is bool and not setting.is_list:
        options["action"] = argparse.BooleanOptionalAction
    else:
        if setting.is_list:
            options["action"] = "append"
        if setting.choices:
            options["choices"] = setting.choices
        else:
            options["metavar"] = _METAVARS.get(setting.unit or "") or (
                "N"
                if setting.type is int
                else "ADDRESS"
                if setting.meta.get("identity")
                else "TEXT"
            )
    action = group.add_argument(*names, **options)  # type: ignore[arg-type]
    action.default = None
    action.help = setting.doc.replace("%", "%%")


_help = "-"  # BooleanOptionalAction would add the default to a text that it is given
_METAVARS = {"duration": "DURATION", "size": "SIZE", "path": "PATH", "mode": "MODE"}


def flags_given(arguments: argparse.Namespace, config: type = Config) -> Iterator[Given]:
    """What the command line sets, the application included."""
    for _, settings in sections(config):
        for each in settings:
            if each.path == ("app",):
                if getattr(arguments, "app", None) is not None:
                    yield Given(each, arguments.app, "the command line")
                continue
            value = getattr(arguments, _PREFIX + each.dotted, None)
            if value is None or each.flag is None:
                continue
            source = each.flag
            if isinstance(value, list):
                value = [scalar_from_text(each, text) for text in value]
            elif isinstance(value, str):
                value = scalar_from_text(each, value)
            elif value is False:
                source = f"--no-{each.flag.removeprefix('--')}"
            yield Given(each, value, source)


def gather(arguments: argparse.Namespace, sources: Sources) -> Config:
    """The configuration, of all that is said; ``sources`` then knows what came from where.

    Raises UsageError, ConfigError.
    """
    given = list(flags_given(arguments))
    flags = {one.setting.flag for one in given}
    if ("--tls-certificate" in flags) != ("--tls-key" in flags):
        raise UsageError("--tls-certificate and --tls-key go together; see hyperserver --help")
    if "--tls-certificate" in flags and any(g.source == "--dev-tls" for g in given):
        raise UsageError("--dev-tls makes a certificate of its own; give no --tls-certificate")
    file = find_file(arguments.config, os.environ)
    if file:
        sources.add_file(file)
    sources.add(from_environment(Config, os.environ), given)
    config = sources.read()
    assert isinstance(config, Config)
    return config
