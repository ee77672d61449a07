"""The reference page of the documentation and the example file, both made from the schema."""

from __future__ import annotations

from collections.abc import Iterator

from hyperserver.config.schema import Config
from hyperserver.config.settings import Setting, sections
from hyperserver.config.units import DURATIONS, SIZES
from hyperserver.config.write import example, toml_value

EXAMPLE_HEAD = """\
#:schema docs/hyperserver.schema.json
# The configuration of hyperserver, with every key at its default; those without one are commented
# out. Unknown keys, wrong types and values without units are errors. Made by
# `hyperserver config example`.
"""

_HEAD = f"""\
# Configuration

<!-- Made by `hyperserver config reference` from hyperserver/config/schema.py; edit that. -->

## Where it is read from

A value is taken from the first of these that has it:

1. the command line: `--timeouts-drain 2s`,
2. the environment: `HYPERSERVER_TIMEOUTS__DRAIN=2s`,
3. one file: that named by `--config` (or `HYPERSERVER_CONFIG`), else `hyperserver.toml` in the
   current directory, else the table `[tool.hyperserver]` of `pyproject.toml` there,
4. the default.

Files are never merged with each other. `hyperserver config show --origin` prints every value and
where it comes from, `hyperserver check` tests a configuration and everything that it names without
serving, and `hyperserver init` writes a file to begin with.

## How values are written

* **Durations** are strings with a unit: {", ".join(f"`{unit}`" for unit in DURATIONS)}; as in `"30s"`, `"500ms"`.
  **Sizes** likewise: {", ".join(f"`{unit}`" for unit in SIZES)}; as in `"16MiB"`.
  A bare number is an error.
* **Paths** in a file are relative to that file; on the command line and in the environment, to the
  current directory.
* **Modes** are octal: `0o660` in a file; elsewhere `660` will do.
* **Flags** of lists are repeated: `-b 127.0.0.1:80 -b '[::1]:80'`. Flags of what is true or false have
  an opposite, `--no-…`.
* **Variables** of lists are a JSON array if they begin with `[`, else values separated by commas:
  `HYPERSERVER_LISTEN__BIND=127.0.0.1:80,[::1]:80`. Arrays of tables are JSON:
  `HYPERSERVER_LISTEN='[{{"bind": ["127.0.0.1:80"]}}]'`. `true`, `yes`, `on` and `1` mean true; an empty
  variable counts as none. A variable that begins with `HYPERSERVER_` and sets nothing brings a warning.
* **Listeners**: `--bind` (or its variable) takes the place of those in the file; other flags and
  variables of `[[listen]]` hold for all listeners. Where a certificate is set up, addresses named by
  `--bind` speak TLS unless `--no-listen-tls` says otherwise; Unix sockets do not.
* **Certificates** come from one source: `tls.certificate`, `[[tls.certificates]]` or `tls.dev`. One that
  is named by a flag or a variable takes the place of the file's, and all addresses but Unix sockets and
  redirects speak TLS by it.

A mistake ends the start with exit code 78 and a message with its place; all mistakes are reported at
once. An editor completes and checks the file with the JSON Schema of `hyperserver config schema`, here
[hyperserver.schema.json](hyperserver.schema.json), if its first line is
`#:schema ./hyperserver.schema.json`.

**Takes effect** says how deep a change of a setting goes: *live*, it could be exchanged while
connections are served; *worker*, it needs a fresh worker process; *restart*, fresh sockets. A running
server reads certificate files again (`tls.reload`), its configuration when it is restarted.
"""


def reference(config: type = Config) -> str:
    """The page, in Markdown."""
    blocks = [_HEAD.rstrip("\n")]
    for section, settings in sections(config):
        blocks.append(_heading(section))
        blocks.append(" ".join((section.doc if section else config.__doc__ or "").split()))
        blocks += _entries(settings)
    return "\n\n".join(blocks) + "\n"


def _heading(section: Setting | None) -> str:
    if section is None:
        return "## Top level"
    return f"## `[[{section.dotted}]]`" if section.is_list else f"## `[{section.dotted}]`"


def _entries(settings: tuple[Setting, ...]) -> Iterator[str]:
    for each in settings:
        yield f"### `{each.dotted}`"
        yield each.doc
        facts = [("type", _type(each)), ("default", _default(each))]
        low, high = each.meta.get("minimum"), each.meta.get("maximum")
        if low is not None or high is not None:
            facts.append(("range", _range(each, low, high)))
        if each.flag:
            names = [name for name in (each.meta.get("short"), each.flag) if name]
            if each.type is bool:
                names.append(f"--no-{each.flag.removeprefix('--')}")
            facts.append(("flag", ", ".join(f"`{n}`" for n in names)))
        if each.path == ("app",):
            facts[-1] = ("flag", "none: it is the argument, `hyperserver module:attribute`")
        if each.variables:
            facts.append(("variable", ", ".join(f"`{name}`" for name in each.variables)))
        facts.append(("takes effect", each.reload))
        yield "\n".join(f"* {name}: {fact}" for name, fact in facts)


def _type(setting: Setting) -> str:
    names = {str: "string", int: "whole number", bool: "`true` or `false`", float: "number"}
    what = setting.unit or names[setting.type]
    if setting.unit == "count":
        what = 'whole number, or `"auto"`'
    if setting.choices:
        what = ", ".join(f'`"{choice}"`' for choice in setting.choices)
    if not setting.is_list:
        return what
    return f"list of {what}" if setting.choices else f"list of {what}s"


def _default(setting: Setting) -> str:
    if setting.required:
        return "none, it must be set"
    if setting.default is None:
        return "none"
    return f"`{toml_value(setting, setting.default)}`"


def _range(setting: Setting, low: int | None, high: int | None) -> str:
    bounds = []
    if low is not None:
        bounds.append(f"at least `{toml_value(setting, low)}`")
    if high is not None:
        bounds.append(f"at most `{toml_value(setting, high)}`")
    return ", ".join(bounds)


def example_file() -> str:
    """``config.example.toml``."""
    return example(Config, EXAMPLE_HEAD)
