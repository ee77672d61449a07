"""What differs between two configurations, and how it takes effect."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from hyperserver.config.schema import Config
from hyperserver.config.settings import Setting, describe


@dataclasses.dataclass(frozen=True, slots=True)
class Changes:
    """Dotted keys, by what they need: nothing, a fresh worker, or a restart."""

    live: tuple[str, ...] = ()
    worker: tuple[str, ...] = ()
    restart: tuple[str, ...] = ()

    @property
    def anything(self) -> bool:
        return bool(self.live or self.worker or self.restart)


def changes(old: Config, new: Config) -> Changes:
    found: dict[str, list[str]] = {"live": [], "worker": [], "restart": []}
    for setting in _changed(old, new, describe(Config)):
        found[setting.reload].append(setting.dotted)
    return Changes(*(tuple(dict.fromkeys(found[name])) for name in ("live", "worker", "restart")))


def without(old: Config, new: Config, *reloads: str) -> Config:
    """``new`` with what needs one of ``reloads`` as it is in ``old``.

    Raises ConfigError if the two do not go together.
    """
    kept: dict[str, Any] = {each.name: _mixed(old, new, each, reloads) for each in describe(Config)}
    return dataclasses.replace(new, **kept)


def _changed(old: object, new: object, settings: tuple[Setting, ...]) -> Iterator[Setting]:
    """The settings that differ; of an array of tables with more or fewer entries, the array."""
    for each in settings:
        one, other = getattr(old, each.name), getattr(new, each.name)
        if one == other:
            continue
        if each.table is None or one is None or other is None:
            yield each
        elif not each.is_list:
            yield from _changed(one, other, describe(each.table, each))
        elif len(one) != len(other):
            yield each
        else:
            inner = describe(each.table, each)
            for before, after in zip(one, other, strict=True):
                yield from _changed(before, after, inner)


def _mixed(old: Any, new: Any, setting: Setting, reloads: tuple[str, ...]) -> Any:
    """The value of ``setting`` in ``new``, or what of it is to be kept of ``old``."""
    one, other = getattr(old, setting.name), getattr(new, setting.name)
    if setting.table is None or setting.is_list or one is None or other is None:
        return one if setting.reload in reloads else other
    inner = describe(setting.table, setting)
    kept = {each.name: _mixed(one, other, each, reloads) for each in inner}
    return dataclasses.replace(other, **kept)
