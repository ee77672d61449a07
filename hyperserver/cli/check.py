"""``hyperserver check``: the configuration, and the machine that it is for, without serving."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from hyperserver.cli.findings import Finding
from hyperserver.cli.flags import build_parser, gather
from hyperserver.config.diagnose import Place, render
from hyperserver.config.read import Path, dotted, problems_of
from hyperserver.config.schema import Config
from hyperserver.config.sources import Sources, unknown_variables
from hyperserver.errors import AppError, ConfigError, ListenError, Mistakes


def run_check(argv: Sequence[str], sources: Sources) -> int:
    """Run the command; the exit code: 0, or that of the first error. Raises UsageError."""
    parser = build_parser(
        "hyperserver check",
        "Test a configuration and what it names: files, certificates, the application, addresses.",
    )
    parser.add_argument("--json", action="store_true", help="findings as JSON on standard output")
    parser.add_argument(
        "--no-environment",
        action="store_true",
        help="the configuration alone: open no file that it names, import and bind nothing",
    )
    arguments = parser.parse_args(argv)
    findings: list[Finding] = []
    try:
        config = gather(arguments, sources)
    except ConfigError as error:
        findings += _errors(error)
    else:
        what = sources.file.name if sources.file else "no file, what was given and the defaults"
        findings.append(Finding("ok", f"configuration: {what}"))
        if not arguments.no_environment:
            findings += _environment(config)
    findings += (Finding("warning", line) for line in unknown_variables(sources.cls, os.environ))
    (_print_json if arguments.json else _print)(findings, sources)
    return next((each.code for each in findings if each.level == "error"), 0)


def _errors(error: ConfigError) -> Iterator[Finding]:
    for problem in problems_of(error):
        yield Finding.of(problem)


def _environment(config: Config) -> Iterator[Finding]:
    from hyperserver.cli.inspect_tls import inspect_tls
    from hyperserver.runtime.serve import check_libraries

    libraries, missing, better = check_libraries(config)
    for error in missing:
        yield from _errors(error)
    if not missing:
        absent = [each for each in better if not each.is_broken]
        advice = "; ".join(f"for {each.name}, which is faster, {each.remedy}" for each in absent)
        yield Finding("ok", f"libraries: {libraries}", advice=advice)
    for each in better:
        if each.is_broken:
            what = f"{each.name} is installed and cannot be loaded: {each.reason}"
            yield Finding("warning", what, advice=each.remedy)
    yield from inspect_tls(config.tls, server_names=config.server_names)
    yield from _names(config)
    yield from _folders(config)
    yield from _process(config)
    yield from _application(config)
    yield from _addresses(config)


def _names(config: Config) -> Iterator[Finding]:
    """Hosts that nobody can ask for, and proxies that anybody can be."""
    from hyperserver.config.http import is_address, is_among

    for index, mount in enumerate(config.mount):
        if mount.host is None or not config.server_names or is_address(mount.host):
            continue
        if not is_among(mount.host, config.server_names):
            path = ("mount", index, "host")
            what = f"`{dotted(path)}`: {mount.host} is not among `server_names`"
            yield Finding("warning", f"{what}; no request will reach it", path)
    if "*" in config.proxy.trust:
        where = ("proxy", "trust", config.proxy.trust.index("*"))
        what = '`proxy.trust`: "*" lets whoever can connect say who they are'
        yield Finding(
            "warning", what, where, "name the proxies, unless a firewall keeps others out"
        )


def _folders(config: Config) -> Iterator[Finding]:
    """One that is missing may be made while the server runs."""
    for index, listen in enumerate(config.listen):
        path = ("listen", index, "acme_webroot")
        if listen.acme_webroot is not None and not os.path.isdir(listen.acme_webroot):
            what = f"`{dotted(path)}`: there is no folder {listen.acme_webroot}"
            yield Finding("warning", f"{what}; no challenge can be answered", path)


def _process(config: Config) -> Iterator[Finding]:
    """Whom to become, the directory, the variables and the logs, without any of it."""
    from hyperserver.runtime.log_files import check_logs
    from hyperserver.runtime.process import look_up, read_env_file

    process = config.process
    mistakes = Mistakes()
    with mistakes:
        look_up(process)
    if process.env_file is not None:
        with mistakes:
            read_env_file(process.env_file)
    with mistakes:
        check_logs(config.log)
    if process.chdir is not None and not os.path.isdir(process.chdir):
        mistakes.add(f"`process.chdir`: there is no folder {process.chdir}")
    try:
        mistakes.raise_all()
    except ConfigError as error:
        yield from _errors(error)


def _application(config: Config) -> Iterator[Finding]:
    from hyperserver.runtime.mounts import of_mount

    if not config.names_application:
        yield Finding("warning", "application: none is named, so none was imported")
        return
    if config.app is not None:
        yield from _imported(config, ("app",), "")
    for index, mount in enumerate(config.mount):
        yield from _imported(of_mount(config, mount), ("mount", index, "app"), f" at {mount.place}")


def _imported(config: Config, path: Path, where: str) -> Iterator[Finding]:
    from hyperserver.runtime.load import doubt, load_app, style_of

    assert config.app is not None
    try:
        with contextlib.redirect_stdout(sys.stderr):  # what it prints is not part of our answer
            app = load_app(config.app, config.app_dir, factory=config.factory)
        style = style_of(app, config)
    except AppError as error:
        yield Finding("error", str(error), path, code=error.exit_code)
    else:
        if not style.certain:
            yield Finding("warning", doubt(app, style, config), (*path[:-1], "interface"))
        yield Finding("ok", f"application: {config.app}{where} ({style})")


def _addresses(config: Config) -> Iterator[Finding]:
    """Bind each address for a moment. One that is in use may be so by the server itself."""
    from hyperserver.runtime.listeners import close_all, open_all

    for index, listen in enumerate(config.listen):
        for number, bind in enumerate(listen.bind):
            path = ("listen", index, "bind", number)
            if bind.startswith("systemd:"):
                yield Finding("ok", f"address: {bind}, which systemd will pass")
                continue
            try:
                close_all(open_all((replace(listen, bind=(bind,)),)))
            except (ListenError, ConfigError) as error:
                if "already in use" in str(error):
                    yield Finding("warning", f"{bind} is in use, maybe by this server", path)
                else:
                    yield Finding("error", str(error), path, code=error.exit_code)
            else:
                yield Finding("ok", f"address: {bind}")


# ---- what is printed ----------------------------------------------------------------------------


def _print(findings: Sequence[Finding], sources: Sources) -> None:
    """What is right on standard output, what is not on standard error."""
    color = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
    for finding in findings:
        if finding.level == "ok":
            print(f"ok: {finding.problem}", flush=True)
    for level in ("warning", "error"):
        problems = [finding.problem for finding in findings if finding.level == level]
        if problems:
            print(render(problems, sources.locate, color=color, level=level), file=sys.stderr)


def _print_json(findings: Sequence[Finding], sources: Sources) -> None:
    errors = sum(finding.level == "error" for finding in findings)
    document = {
        "ok": not errors,
        "file": sources.file.name if sources.file else None,
        "findings": [_as_json(finding, sources) for finding in findings],
    }
    print(json.dumps(document, indent=2, ensure_ascii=False))


def _as_json(finding: Finding, sources: Sources) -> dict[str, Any]:
    problem = finding.problem
    about: dict[str, Any] = {"level": finding.level, "message": problem.message}
    if problem.advice:
        about["advice"] = problem.advice
    if problem.path:
        about["key"] = dotted(problem.path)
    place = problem.place or (sources.locate(problem) if problem.path else None)
    if isinstance(place, Place):
        about |= {"file": place.file, "line": place.line, "column": place.column}
    elif place:
        about["source"] = place
    return about
