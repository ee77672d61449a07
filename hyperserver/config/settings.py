"""What a setting is: one dataclass field, from which all that is said about it is derived.

The loader, the command line's flags, the environment's variables, the JSON Schema, the reference
page, the example file and ``config show`` walk the schema by this module; none of them names a key.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Iterator
from typing import Any

PREFIX = "HYPERSERVER_"

#: How a change takes effect: at once, in a fresh worker, in a fresh process.
RELOADS = ("live", "worker", "restart")


def setting(  # noqa: PLR0913 - a setting has that many sides, each named where it is used
    default: Any,
    doc: str,
    *,
    unit: str | None = None,
    choices: tuple[str, ...] | None = None,
    minimum: int | None = None,
    maximum: int | None = None,
    check: Callable[[Any], object] | None = None,
    reload: str | None = None,
    flag: str | None = None,
    short: str | None = None,
    env: str | None = None,
    example: Any = None,
    identity: bool = False,
) -> Any:
    """A documented setting.

    ``unit`` says how a value is written: ``duration`` (``"30s"``), ``size`` (``"64KiB"``), ``path``
    (relative to the file), ``mode`` (``0o660``), ``count`` (``4`` or ``"auto"``) or None. ``check(value)``, of each element where
    there are several, raises ValueError. ``reload`` is one of ``RELOADS``, by default the table's.

    ``flag`` takes the place of ``--section-key``, ``short`` is one more; ``env`` is a variable that
    is honoured besides ``HYPERSERVER_SECTION__KEY``. ``example`` is shown where the default is
    None or empty. With ``identity``, a flag makes a new list of one table, see ``tables``.
    """
    metadata = {
        "doc": doc,
        "unit": unit,
        "choices": choices,
        "minimum": minimum,
        "maximum": maximum,
        "check": check,
        "reload": reload,
        "flag": flag,
        "short": short,
        "env": env,
        "example": example,
        "identity": identity,
    }
    return dataclasses.field(default=default, metadata=metadata)


def tables(default: Callable[[], Any], doc: str, *, shared: bool = False) -> Any:
    """An array of tables, ``[[name]]``, each with the keys of one dataclass.

    With ``shared``, flags and variables set a key of all its tables.
    """
    return dataclasses.field(default_factory=default, metadata={"doc": doc, "shared": shared})


class Setting:
    """One field of the schema, with its type resolved."""

    __slots__ = (
        "default",
        "is_list",
        "meta",
        "name",
        "optional",
        "parent",
        "reload",
        "required",
        "table",
        "type",
    )

    def __init__(
        self, spec: dataclasses.Field[Any], hint: Any, parent: Setting | None, reload: str
    ) -> None:
        self.name = spec.name
        self.meta = spec.metadata
        self.parent = parent
        self.optional = False
        if typing.get_origin(hint) in (types.UnionType, typing.Union):
            (hint,) = (arg for arg in typing.get_args(hint) if arg is not type(None))
            self.optional = True
        self.is_list = typing.get_origin(hint) is tuple
        if self.is_list:
            hint = typing.get_args(hint)[0]
        self.type: Any = hint
        self.table: type[Any] | None = None
        if isinstance(hint, type) and dataclasses.is_dataclass(hint):
            self.table = hint
        self.reload = self.meta.get("reload") or getattr(self.table, "RELOAD", None) or reload
        self.required = False
        self.default: Any = None
        if spec.default is not dataclasses.MISSING:
            self.default = spec.default
        elif spec.default_factory is not dataclasses.MISSING:
            self.default = spec.default_factory()
        else:
            self.required = True

    @property
    def doc(self) -> str:
        return str(self.meta.get("doc") or (self.table.__doc__ if self.table else "") or "")

    @property
    def unit(self) -> str | None:
        return typing.cast("str | None", self.meta.get("unit"))

    @property
    def choices(self) -> tuple[str, ...]:
        return self.meta.get("choices") or ()

    @property
    def path(self) -> tuple[str, ...]:
        """The names from the top, as in ``("tls", "client_auth", "mode")``."""
        return (*(self.parent.path if self.parent else ()), self.name)

    @property
    def arrays(self) -> tuple[Setting, ...]:
        """The arrays of tables that it lies in, the outermost first."""
        if self.parent is None:
            return ()
        return (*self.parent.arrays, *((self.parent,) if self.parent.is_list else ()))

    @property
    def dotted(self) -> str:
        """``listen.bind``: how people name it."""
        return ".".join(self.path)

    @property
    def settable(self) -> bool:
        """Whether one value from outside the file can be meant for it."""
        arrays = self.arrays
        return all(array.meta.get("shared") for array in arrays) and len(arrays) < 2

    @property
    def flag(self) -> str | None:
        """``--timeouts-drain``; None for what takes more than one value to say."""
        if self.table or not self.settable:
            return None
        return self.meta.get("flag") or "--" + "-".join(self.path).replace("_", "-")

    @property
    def variables(self) -> tuple[str, ...]:
        """``HYPERSERVER_TIMEOUTS__DRAIN``, and other names; an earlier one wins."""
        if not self.settable or (self.table and not self.is_list):
            return ()
        own = PREFIX + "__".join(self.path).upper()
        also = self.meta.get("env")
        return (own, also) if also else (own,)


_described: dict[tuple[type[Any], Setting | None], tuple[Setting, ...]] = {}


def describe(cls: type[Any], parent: Setting | None = None) -> tuple[Setting, ...]:
    """The settings of one table, in the order of the schema."""
    found = _described.get((cls, parent))
    if found is None:
        reload = getattr(cls, "RELOAD", None) or (parent.reload if parent else "worker")
        hints = typing.get_type_hints(cls)
        found = _described[cls, parent] = tuple(
            Setting(spec, hints[spec.name], parent, reload) for spec in dataclasses.fields(cls)
        )
    return found


def walk(cls: type[Any], parent: Setting | None = None) -> Iterator[Setting]:
    """All settings and tables below ``cls``, a table before what is in it."""
    for each in describe(cls, parent):
        yield each
        if each.table:
            yield from walk(each.table, each)


def sections(cls: type[Any]) -> Iterator[tuple[Setting | None, tuple[Setting, ...]]]:
    """Each table with the settings that stand directly in it; None is the top."""
    yield None, tuple(each for each in describe(cls) if not each.table)
    for each in walk(cls):
        if each.table:
            inner = tuple(one for one in describe(each.table, each) if not one.table)
            yield each, inner
