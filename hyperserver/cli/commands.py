"""The commands beside serving: ``config``, ``init`` and ``check``."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from hyperserver.cli.flags import Parser, build_parser, gather
from hyperserver.config.sources import Sources
from hyperserver.errors import HyperserverError, UsageError


def run_command(name: str, argv: Sequence[str], sources: Sources) -> int:
    """Run ``hyperserver NAME argv…``; the exit code. Raises HyperserverError."""
    if name == "check":
        from hyperserver.cli.check import run_check

        return run_check(argv, sources)
    return _init(argv) if name == "init" else _config(argv, sources)


# ---- config -------------------------------------------------------------------------------------


def _config(argv: Sequence[str], sources: Sources) -> int:
    if argv and argv[0] in _CONFIG:
        return _CONFIG[argv[0]][1](argv[1:], sources)
    parser = argparse.ArgumentParser(
        prog="hyperserver config",
        usage="hyperserver config COMMAND [options]",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="commands:\n" + "\n".join(f"  {n:<10} {h}" for n, (h, _) in _CONFIG.items()),
    )
    if argv and argv[0] in {"-h", "--help"}:
        parser.print_help()
        return 0
    given = f"{argv[0]!r} is none of the commands" if argv else "a command is missing, one of"
    raise UsageError(f"{given} {', '.join(_CONFIG)}; see hyperserver config --help")


def _show(argv: Sequence[str], sources: Sources) -> int:
    parser = build_parser(
        "hyperserver config show",
        "Print the configuration that is in force, as a file would have it.",
    )
    parser.add_argument(
        "--origin", action="store_true", help="say of each value where it comes from"
    )
    arguments = parser.parse_args(argv)
    from hyperserver.config.load import with_absolute_paths
    from hyperserver.config.write import dump

    config = with_absolute_paths(gather(arguments, sources))
    sys.stdout.write(dump(config, sources.told if arguments.origin else lambda _: ""))
    return 0


def _schema(argv: Sequence[str], sources: Sources) -> int:
    _no_arguments("schema", argv)
    from hyperserver.config.jsonschema import json_schema

    sys.stdout.write(json_schema(sources.cls))
    return 0


def _reference(argv: Sequence[str], _: Sources) -> int:
    _no_arguments("reference", argv)
    from hyperserver.config.reference import reference

    sys.stdout.write(reference())
    return 0


def _example(argv: Sequence[str], _: Sources) -> int:
    _no_arguments("example", argv)
    from hyperserver.config.reference import example_file

    sys.stdout.write(example_file())
    return 0


def _no_arguments(name: str, argv: Sequence[str]) -> None:
    Parser(prog=f"hyperserver config {name}", description=_CONFIG[name][0]).parse_args(argv)


def _import(argv: Sequence[str], _: Sources) -> int:
    parser = Parser(
        prog="hyperserver config import",
        description="Translate a hypercorn configuration file. What has no counterpart is said on "
        "standard error, and in the file.",
    )
    parser.add_argument("file", metavar="hypercorn.toml")
    parser.add_argument("-o", "--output", metavar="FILE", help="instead of standard output")
    arguments = parser.parse_args(argv)
    from hyperserver.config.import_hypercorn import import_hypercorn

    translation = import_hypercorn(arguments.file)
    if arguments.output:
        _write_new({Path(arguments.output): translation.text})
    else:
        sys.stdout.write(translation.text)
    for line in translation.notes:
        print(line, file=sys.stderr)
    return 0


_CONFIG: dict[str, tuple[str, Callable[[Sequence[str], Sources], int]]] = {
    "show": ("the configuration in force; --origin: where each value comes from", _show),
    "schema": ("the JSON Schema of the file, for editors", _schema),
    "reference": ("every setting, as a page in Markdown", _reference),
    "example": ("a file with every setting at its default", _example),
    "import": ("translate a hypercorn configuration file", _import),
}


# ---- init ---------------------------------------------------------------------------------------


def _init(argv: Sequence[str]) -> int:
    from hyperserver.config.templates import FILE, KINDS, files_for, next_step

    parser = Parser(
        prog="hyperserver init",
        description=f"Write a configuration to begin with, {FILE}, and what goes along with it.",
    )
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument(
        "app", nargs="?", default="main:app", metavar="module:attribute", help="the application"
    )
    parser.add_argument("--directory", default=".", metavar="DIR", help="where to write")
    arguments = parser.parse_args(argv)
    directory = Path(arguments.directory)
    if not directory.is_dir():
        raise UsageError(f"--directory: {directory} is not a directory")
    command = shutil.which("hyperserver") or f"{sys.executable} -m hyperserver"
    files = files_for(arguments.kind, arguments.app, str(directory.resolve()), command)
    _write_new({directory / name: text for name, text in files.items()})
    for name in files:
        print(f"wrote {directory / name}")
    print(f"next: {next_step(arguments.kind)}")
    return 0


def _write_new(files: dict[Path, str]) -> None:
    """Write all files, or none if one exists."""
    for path in files:
        if path.exists():
            raise UsageError(f"{path} exists; it is not overwritten")
    for path, text in files.items():
        try:
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise HyperserverError(f"cannot write {path}: {error.strerror}") from None
