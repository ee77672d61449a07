"""A schema with every shape that a setting can have, apart from that of the server."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from hyperserver.config.settings import setting, tables
from hyperserver.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Auth:
    """Who may come."""

    mode: str = setting("off", "How strict.", choices=("off", "required"))
    ca: str | None = setting(None, "Who vouches.", unit="path")
    crls: tuple[str, ...] = setting((), "Who has been revoked.", unit="path")

    def __post_init__(self) -> None:
        if self.mode != "off" and self.ca is None:
            raise ConfigError('`safe.auth.mode`: "required" needs `safe.auth.ca` beside it')


@dataclass(frozen=True, slots=True)
class Pair:
    """One of several pairs."""

    left: str = setting("", "The left file.", unit="path")
    right: str = setting("", "The right file.", unit="path")
    auth: Auth | None = setting(None, "In place of [safe.auth].")  # noqa: RUF009 - a field

    def __post_init__(self) -> None:
        if not (self.left and self.right):
            raise ConfigError("`safe.pairs`: each needs a `left` and a `right`")


@dataclass(frozen=True, slots=True)
class Safe:
    """What is safe."""

    RELOAD: ClassVar[str] = "live"

    pairs: tuple[Pair, ...] = setting((), "Several pairs.")
    auth: Auth = setting(Auth(), "Who may come.")  # noqa: RUF009 - a field
    every: float = setting(10.0, "Within what time; 0s is never.", unit="duration", minimum=0)
    hsts: float | None = setting(None, "For how long.", unit="duration")
    share: float = setting(0.5, "A part.")
    dev: bool = setting(False, "For development.", flag="--dev-safe")


@dataclass(frozen=True, slots=True)
class Door:
    """One of the doors."""

    RELOAD: ClassVar[str] = "restart"

    at: tuple[str, ...] = setting(("front",), "Where.", flag="--door", short="-d", identity=True)
    mode: int = setting(0o666, "Permissions.", unit="mode", minimum=0, maximum=0o777)
    width: int = setting(2, "How wide.", minimum=1, reload="live")


@dataclass(frozen=True, slots=True)
class Toy:
    """All of it."""

    count: int = setting(1, "How many.", short="-n", env="TOY_COUNT")
    names: tuple[str, ...] = setting(("a",), "Which.", env="TOY_NAMES")
    home: str = setting("home", "Where.", unit="path")
    doors: tuple[Door, ...] = tables(lambda: (Door(),), "The doors.", shared=True)
    safe: Safe = field(default_factory=Safe)
