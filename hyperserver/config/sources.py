"""What the command line, the environment, a file and the defaults say, in this order, as one.

Each value remembers where it comes from: ``config show --origin`` tells, and so does every error.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hyperserver.config.load import (
    FILE,
    PROJECT,
    TOMLFile,
    anchored,
    defaults_from,
    read,
)
from hyperserver.config.read import Path as KeyPath
from hyperserver.config.schema import Config, Listen
from hyperserver.config.schema_tls import TLS
from hyperserver.config.settings import PREFIX, Setting, describe, walk
from hyperserver.errors import ConfigError, Problem, UsageError

if TYPE_CHECKING:
    from hyperserver.config.diagnose import Place

CONFIG_VARIABLE = f"{PREFIX}CONFIG"
DEFAULT = "default"


class Given:
    """A value from outside the file: as it was written, and as a file would have it."""

    __slots__ = ("setting", "source", "value")

    def __init__(self, setting: Setting, value: object, source: str) -> None:
        self.setting = setting
        self.value = value
        self.source = source


class Sources:
    """All that is said, in the shape of a file. ``read`` makes the configuration of it."""

    def __init__(self, cls: type[Any] = Config) -> None:
        self.cls = cls
        self.data: dict[str, Any] = {}
        self.file: TOMLFile | None = None
        self._origins: dict[KeyPath, tuple[str | None, KeyPath]] = {}  # None: the file, at …

    def add_file(self, file: TOMLFile) -> None:
        keys = describe(self.cls)
        self.file = file
        self.data = defaults_from(keys, file.directory)
        for name, value in anchored(keys, file.data, file.directory).items():
            self._put((name,), copy.deepcopy(value), None)

    def add(self, environment: Iterable[Given], flags: Iterable[Given]) -> None:
        """What the environment says, then what the command line says."""
        everything: list[Given] = []
        for level in (environment, flags):
            news = list(level)
            gone = self._make_way(news) if self.cls is Config else set()
            everything = [old for old in everything if old.setting.path not in gone] + news
        # a new list of listeners first: what holds for each of them is meant for those as well
        for given in sorted(everything, key=lambda given: not _is_new_list(given.setting)):
            self._add(given)
        if self.cls is Config:
            self._secure({given.setting.path: given.source for given in everything})

    def _add(self, given: Given) -> None:
        setting = given.setting
        if not setting.arrays:
            self._put(setting.path, given.value, given.source)
            return
        (array,) = setting.arrays
        inner = setting.path[len(array.path) :]
        if setting.meta.get("identity"):
            self._put(array.path, [{}], given.source)
        entries = self._get(array.path)
        if entries is None:
            self._put(array.path, entries := [{}], DEFAULT)
        if isinstance(entries, list):
            for index in range(len(entries)):
                self._put((*array.path, index, *inner), given.value, given.source)

    def _get(self, path: KeyPath) -> Any:
        found: Any = self.data
        for part in path:
            found = found.get(part) if isinstance(found, dict) else None
        return found

    def _put(self, path: KeyPath, value: object, source: str | None) -> None:
        """Set what ``path`` names; what stands around it and is no table is left as it is."""
        into: Any = self.data
        for part in path[:-1]:
            if isinstance(into, dict):
                into = into.setdefault(part, {})
            elif isinstance(into, list) and isinstance(part, int):
                into = into[part]
        if isinstance(into, dict):
            for old in [old for old in self._origins if old[: len(path)] == path]:
                del self._origins[old]
            into[path[-1]] = value
            self._origins[path] = (source, path)

    # ---- TLS: no address that is named outside the file may be plaintext by an oversight --------

    def _make_way(self, news: list[Given]) -> set[tuple[str, ...]]:
        """The keys of TLS whose place is taken by ``news``. They leave what the file says."""
        set_now = {given.setting.path: given.value for given in news}
        chosen = {key for key in TLS.SOURCES if set_now.get(("tls", key))}
        gone: set[tuple[str, ...]] = set()
        for key in TLS.SOURCES:
            if chosen and key not in chosen:
                gone.update(("tls", one) for one in (key, *TLS.SOURCES[key]))
        for path in gone:
            self._drop(path)
        return gone

    def _secure(self, given: Mapping[tuple[str, ...], str]) -> None:
        """Where TLS is set up and a certificate or an address comes from outside, speak it."""
        tls = self.data.get("tls")
        set_up = [key for key in TLS.SOURCES if tls.get(key)] if isinstance(tls, dict) else []
        if not set_up:
            return
        certificate = next((given["tls", key] for key in set_up if ("tls", key) in given), "")
        source = certificate or given.get(("listen", "bind"), "")
        explicit = given.get(("listen", "tls"), "")
        if source and not explicit:
            self._speak_tls(source)
        if (source or explicit) and not self._speaks_tls():
            if certificate.startswith("--"):
                why = (
                    f"{explicit} says otherwise"
                    if explicit
                    else "there are only Unix sockets or redirects, which do without TLS"
                )
                raise UsageError(f"{certificate}: {why}")
            self._drop(("tls",))

    def _drop(self, path: KeyPath) -> None:
        """Unset what ``path`` names."""
        into = self._get(path[:-1])
        if isinstance(into, dict) and path[-1] in into:
            self._put(path, None, DEFAULT)
            del into[path[-1]]

    def _speaks_tls(self) -> bool:
        entries = self.data.get("listen")
        return isinstance(entries, list) and any(
            isinstance(entry, dict) and entry.get("tls", False) is not False for entry in entries
        )

    def _speak_tls(self, source: str) -> None:
        """All addresses speak TLS, but Unix sockets, which do not leave the machine, and those from
        which requests are sent on to https.
        """
        entries = self.data.setdefault("listen", [{}])
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            return  # it will be refused
        made: list[dict[str, Any]] = []
        origins: dict[KeyPath, tuple[str | None, KeyPath]] = {}
        for index, entry in enumerate(entries):
            binds = entry.get("bind", list(Listen().bind))
            binds = binds if isinstance(binds, list | tuple) else [binds]
            plain = entry.get("redirect") is not None
            local = [n for n, bind in enumerate(binds) if plain or str(bind).startswith("unix:")]
            others = [n for n in range(len(binds)) if n not in local]
            for chosen, tls in ((others, True), (local, False)):
                if not chosen and binds:
                    continue
                part = (
                    {**entry, "bind": [binds[n] for n in chosen]} if "bind" in entry else {**entry}
                )
                new: KeyPath = ("listen", len(made))
                origins[new] = self.origin(("listen", index))
                for n, old in enumerate(chosen):
                    origins[*new, "bind", n] = self.origin(("listen", index, "bind", old))
                for key in entry:
                    origins.setdefault((*new, key), self.origin(("listen", index, key)))
                if tls:
                    part["tls"] = True
                    origins[*new, "tls"] = (source, (*new, "tls"))
                made.append(part)
        self.data["listen"] = made
        self._origins = {k: v for k, v in self._origins.items() if k[0] != "listen"} | origins

    # ---- reading --------------------------------------------------------------------------------

    def read(self) -> Any:
        """The configuration. Raises ConfigError with all problems."""
        return read(self.cls, self.data)

    def origin(self, path: KeyPath) -> tuple[str | None, KeyPath]:
        """The source of ``path`` and the path that it has there; None means the file."""
        for length in range(len(path), 0, -1):
            found = self._origins.get(path[:length])
            if found:
                return found[0], (*found[1], *path[length:])
        return DEFAULT, path

    def told(self, path: KeyPath) -> str:
        """Where the value of a setting comes from, for ``config show --origin``."""
        source, there = self.origin(path)
        if source is not None:
            return source
        line = self.file.line(there) if self.file else None
        return f"{self.file.name}:{line}" if self.file and line else DEFAULT

    def locate(self, problem: Problem) -> Place | str | None:
        """Where the author of a problem finds it: see ``diagnose.Locate``."""
        return self.place(problem.path, on_key=problem.on_key)

    def place(self, path: KeyPath, *, on_key: bool = False) -> Place | str | None:
        """The place in the file, the flag or the variable; None for defaults."""
        source, there = self.origin(path)
        if source == DEFAULT and path:  # a table: the first value in it that somebody has set
            inner = (found for at, found in self._origins.items() if at[: len(path)] == path)
            source, there = next(inner, (source, there))
        if source is None and self.file:
            return self.file.place(there, on_key=on_key) or self.file.name
        return None if source == DEFAULT else source


def _is_new_list(setting: Setting) -> bool:
    return bool(setting.meta.get("identity") or (setting.table and setting.is_list))


def find_file(named: str | None, environ: Mapping[str, str]) -> TOMLFile | None:
    """The file that is named, else ``hyperserver.toml`` here, else the project's, else None.

    Raises ConfigError.
    """
    named = named or environ.get(CONFIG_VARIABLE)
    if named:
        return TOMLFile(named)
    if Path(FILE).exists():
        return TOMLFile(FILE)
    try:
        text = Path(PROJECT).read_bytes()
    except OSError:
        return None
    if b"hyperserver" not in text:  # most projects: no need to parse it
        return None
    file = TOMLFile(PROJECT)
    return file if file.data else None


def from_environment(cls: type[Any], environ: Mapping[str, str]) -> Iterator[Given]:
    """What the environment sets. An empty variable counts as none. Raises ConfigError."""
    wrong: list[Problem] = []
    for setting in walk(cls):
        for name in setting.variables:
            text = environ.get(name)
            if text:
                try:
                    yield Given(setting, from_text(setting, text), name)
                except ValueError as error:
                    wrong.append(Problem((), f"{name}: {error}"))
                break
    if wrong:
        raise ConfigError("\n".join(map(str, wrong)), tuple(wrong))


def from_text(setting: Setting, text: str) -> object:
    """A variable's text as a file would have it: lists are JSON, or separated by commas.

    What is not right is left for the reader to refuse. Raises ValueError for bad JSON.
    """
    if setting.is_list and not (setting.table is None and text.lstrip()[:1] != "["):
        import json

        try:
            return json.loads(text)
        except ValueError as error:
            raise ValueError(f"not JSON: {error}") from None
    if setting.is_list:
        return [scalar_from_text(setting, part.strip()) for part in text.split(",")]
    return scalar_from_text(setting, text)


def scalar_from_text(setting: Setting, text: str) -> object:
    """One value from text: ``true``, ``8``, ``0o660`` (``660`` for a mode) or the text itself."""
    if setting.type is bool:
        return _WORDS.get(text.lower(), text)
    if setting.type in {int, float} and setting.unit in {None, "mode", "count"}:
        try:
            if setting.unit == "mode":
                return int(text.removeprefix("0o"), 8)
            return setting.type(text)
        except ValueError:
            return text
    return text


_WORDS = {"true": True, "1": True, "yes": True, "on": True}
_WORDS |= {"false": False, "0": False, "no": False, "off": False}


def unknown_variables(cls: type[Any], environ: Mapping[str, str]) -> list[str]:
    """A line for each variable that looks like one of ours and sets nothing."""
    import re

    from hyperserver.config.read import closest

    # what Kubernetes sets in every pod next to a service that is called hyperserver
    injected = re.compile(rf"{PREFIX}(SERVICE_(HOST|PORT).*|PORT(_\d+_(TCP|UDP).*)?)")
    known = {name for setting in walk(cls) for name in setting.variables} | {CONFIG_VARIABLE}
    known.add(f"{PREFIX}EXTENSIONS")  # of the installation, see setup.py
    lines = []
    for name in sorted(environ):
        if name.startswith(PREFIX) and name not in known and not injected.fullmatch(name):
            close = closest(
                name.removeprefix(PREFIX), [k.removeprefix(PREFIX).lower() for k in known]
            )
            advice = f"; did you mean {PREFIX}{close.upper()}?" if close else ""
            lines.append(f"the variable {name} sets nothing{advice}")
    return lines
