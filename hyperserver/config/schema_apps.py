"""The settings of what stands around an application: see ``schema``, of which they are a part."""

from __future__ import annotations

from dataclasses import MISSING, dataclass
from typing import ClassVar

from hyperserver.config.http import check_field, check_host, check_path, split_field
from hyperserver.config.settings import setting
from hyperserver.errors import Mistakes


@dataclass(frozen=True, slots=True)
class Mount:
    """An application for a part of the site, with a lifespan and a state of its own. The longest path
    that fits decides, first among the mounts of the request's host, then among those without one.
    What fits none is for `app`, or is answered with 404.
    """

    app: str = setting(
        MISSING, 'The application, as "package.module:attribute".', example="shop.api:app"
    )
    path: str = setting(
        "/",
        'The path at which it is mounted, as in "/api": this one, and what is below it ("/api/a", not '
        '"/apix"), once decoded.',
        check=check_path,
    )
    host: str | None = setting(
        None,
        'The host that it is for, as in "api.example.org"; "*.example.org" is any one label below.',
        check=check_host,
        example="api.example.org",
    )
    relative: bool = setting(
        True,
        "The application's own paths begin at its mount, which is added to the `root_path` in scopes. "
        "Without it they are whole, and `root_path` stays.",
    )
    app_dir: str | None = setting(
        None,
        "Directory put first on the import path, if not the one that `app_dir` names.",
        unit="path",
        example="api",
    )
    factory: bool = setting(False, "The attribute is a function that returns the application.")
    interface: str = setting(
        "auto",
        "How it is called, as the `interface` of `app`.",
        choices=("auto", "asgi3", "asgi2", "wsgi"),
    )

    @property
    def place(self) -> str:
        """How people name it: ``api.example.org/v1``."""
        return (self.host or "") + self.path

    @property
    def key(self) -> tuple[str, str]:
        """The same for two mounts of the same place."""
        return (self.host or "").lower().removesuffix("."), self.path


@dataclass(frozen=True, slots=True)
class Response:
    """What is added to responses."""

    RELOAD: ClassVar[str] = "live"

    headers: tuple[str, ...] = setting(
        (),
        "Header fields for all responses, also those of the server itself and the acceptance of "
        "WebSockets. Where an application sets a field of the same name, its own holds.",
        check=check_field,
        example=("x-frame-options: DENY", "referrer-policy: same-origin"),
    )

    def fields(self) -> list[tuple[bytes, bytes]]:
        """Names in lower case, with their values."""
        return [split_field(text) for text in self.headers]


def check_mounts(
    mounts: tuple[Mount, ...], app: str | None, app_dir: str, mistakes: Mistakes
) -> None:
    """What contradicts what, of the mounts and `app`."""
    places: dict[tuple[str, str], int] = {}
    folders: dict[str, str] = {} if app is None else {app.partition(":")[0]: app_dir}
    for index, mount in enumerate(mounts):
        first = places.setdefault(mount.key, index)
        if first != index:
            mistakes.add(
                f"`mount[{index}].path`: {mount.place} is that of `mount[{first}]` already"
            )
        if mount.key == ("", "/") and app is not None:
            mistakes.add(f"`mount[{index}].path`: contradicts `app`, which has what is left")
        module, folder = mount.app.partition(":")[0], mount.app_dir or app_dir
        if folders.setdefault(module, folder) != folder:
            mistakes.add(
                f"`mount[{index}].app`: one process has one module {module}, and an application "
                "before this one has it from another directory; name one of them differently"
            )
