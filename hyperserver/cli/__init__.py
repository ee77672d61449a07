"""The command line. A user's mistake is one clear message on standard error and an exit code:
2 usage, 3 the application failed to load or start, 78 configuration, 1 anything else.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from hyperserver.cli.flags import build_parser, gather
from hyperserver.config.schema import Config
from hyperserver.config.sources import Sources, unknown_variables
from hyperserver.errors import ConfigError, HyperserverError, UsageError

#: Words that are no application, which has a ":", with the modules that know them.
COMMANDS = ("check", "config", "init")

_EPILOG = """\
commands: "hyperserver check" tests a configuration and all that it names; "hyperserver config" \
shows it, and its schema, reference and example; "hyperserver init" writes one to begin with. \
Each has --help.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code."""
    argv = sys.argv[1:] if argv is None else argv
    sources = Sources()
    try:
        if argv and argv[0] in COMMANDS:
            from hyperserver.cli.commands import run_command

            return run_command(argv[0], argv[1:], sources)
        return _serve(argv, sources)
    except ConfigError as error:
        print(explained(error, sources), file=sys.stderr)
        return error.exit_code
    except HyperserverError as error:
        print(f"hyperserver: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130


def _serve(argv: Sequence[str], sources: Sources) -> int:
    arguments = build_parser(epilog=_EPILOG).parse_args(argv)
    if arguments.app in COMMANDS:
        raise UsageError(f"the command comes first: hyperserver {arguments.app} …")
    config = gather(arguments, sources)
    if not config.names_application:
        raise UsageError(
            'no application: name it as "hyperserver package.module:attribute", '
            "or as `app` in hyperserver.toml or a file given with --config"
        )
    from hyperserver.observe.logs import configure, logger
    from hyperserver.runtime.serve import run

    configure(config.log.level, pretty=config.dev)
    for line in unknown_variables(sources.cls, os.environ):
        logger.warning("%s", line)
    files = (os.path.abspath(sources.file.name),) if sources.file else ()
    reread = _rereading(arguments, config, sources)
    return run(config.app, config, reread=reread, files=files)


def _rereading(
    arguments: argparse.Namespace, config: Config, sources: Sources
) -> Callable[[], Config] | None:
    """What reads the file of ``config`` again; None if there is none."""
    if sources.file is None:
        return None
    here = os.getcwd()  # which may not be where the server will be
    arguments.config = os.path.abspath(sources.file.name)
    moves = config.process.chdir is not None

    def reread() -> Config:
        fresh = Sources()
        try:
            new = gather(arguments, fresh)
        except ConfigError as error:
            raise ConfigError(plain(problems_of(error), fresh.locate)) from None
        return with_absolute_paths(new, base=here) if moves else new

    from hyperserver.config.diagnose import plain
    from hyperserver.config.load import with_absolute_paths
    from hyperserver.config.read import problems_of

    return reread


def explained(error: ConfigError, sources: Sources) -> str:
    """All that is wrong, each with its place."""
    from hyperserver.config.diagnose import render
    from hyperserver.config.read import problems_of

    color = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
    return render(problems_of(error), sources.locate, color=color)
