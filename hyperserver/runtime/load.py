"""Finding the application that ``package.module:attribute`` names, and serving it in its style."""

from __future__ import annotations

import importlib
import sys
import traceback
from pathlib import Path
from typing import cast

from hyperserver.asgi import styles
from hyperserver.asgi.types import Application, ASGI2Application, ASGIApplication, WSGIApplication
from hyperserver.config.schema import Config
from hyperserver.errors import AppError
from hyperserver.observe.logs import logger


def load_app(target: str, app_dir: str = ".", *, factory: bool = False) -> Application:
    """Import ``target`` with ``app_dir`` first on the import path.

    Raises AppError with one line that says what is wrong; where the application's own code
    raised, its traceback is in the message.
    """
    module_name, _, attribute = target.partition(":")
    if not module_name or not attribute:
        raise AppError(f'cannot load {target!r}: write it as "package.module:attribute"')
    directory = str(Path(app_dir).resolve())
    if directory not in sys.path:
        sys.path.insert(0, directory)
    found: object = _import(module_name, target, directory)
    for name in attribute.split("."):
        if not hasattr(found, name):
            raise AppError(
                f"cannot load {target!r}: {module_name!r} has no attribute {attribute!r}"
            )
        found = getattr(found, name)
    if factory:
        if not callable(found):
            raise AppError(f"cannot load {target!r}: the factory is not callable")
        try:
            found = found()
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the application's code
            raise AppError(f"the factory {target!r} failed:\n{_traceback(error)}") from None
    if not callable(found):
        hint = "" if factory else "; is it a factory? then add --factory"
        raise AppError(
            f"cannot load {target!r}: {type(found).__name__} object is not callable{hint}"
        )
    return cast("Application", found)


def style_of(app: object, config: Config) -> styles.Style:
    """The style to serve ``app`` in. Raises AppError where it has none that ``config`` allows."""
    try:
        style = styles.choose(app, config.interface)
    except ValueError as error:
        hint = ""
        if config.interface != "auto":
            hint = f'; `interface` = "{config.interface}" is not for it'
        raise AppError(f"cannot serve {_name(app, config)}: it {error}{hint}") from None
    if style.interface == "wsgi" and config.lifespan == "on":
        raise AppError(
            f"cannot serve {_name(app, config)}: it is a WSGI application, which has no lifespan; "
            '`lifespan` = "on" is not for it'
        )
    return style


def adapt(app: Application, config: Config) -> ASGIApplication:
    """``app`` as an ASGI 3 application, whatever it is. Raises AppError.

    Anything but ASGI 3 is named in the log.
    """
    style = style_of(app, config)
    if not style.certain:
        logger.warning("%s", doubt(app, style, config))
    if style.interface == "wsgi":
        from hyperserver.runtime.wsgi import WSGI

        threads = config.wsgi.threads
        logger.info("serving %s as WSGI, in up to %d threads", _name(app, config), threads)
        wsgi = cast("WSGIApplication", app)
        return WSGI(wsgi, threads, multiprocess=config.workers != 1)
    if style.interface == "asgi2":
        logger.info("serving %s as ASGI 2", _name(app, config))
        return styles.single(cast("ASGI2Application", app))
    return cast("ASGIApplication", app)


def doubt(app: object, style: styles.Style, config: Config) -> str:
    """What is to be said of a style that is no more than likely."""
    return (
        f"cannot tell the interface of {_name(app, config)}, serving it as {style}; "
        "`interface` makes it certain"
    )


def _name(app: object, config: Config) -> str:
    """How ``app`` is called in messages."""
    if config.app is not None:
        return repr(config.app)
    return getattr(app, "__qualname__", None) or f"the {type(app).__qualname__} object"


def _import(module_name: str, target: str, directory: str) -> object:
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        # missing is the module that was asked for (or a parent), not one that it imports
        if error.name and (module_name == error.name or module_name.startswith(error.name + ".")):
            raise AppError(
                f"cannot load {target!r}: no module named {error.name!r} in {directory} "
                "or on the import path; use --app-dir to add a directory"
            ) from None
        raise AppError(f"importing {module_name!r} failed:\n{_traceback(error)}") from None
    except (Exception, SystemExit) as error:  # noqa: BLE001 - nor may its sys.exit() be ours
        raise AppError(f"importing {module_name!r} failed:\n{_traceback(error)}") from None


def _traceback(error: BaseException) -> str:
    """The traceback from the application's first frame on."""
    entries = error.__traceback__
    while entries is not None and (
        entries.tb_frame.f_code.co_filename == __file__
        or "importlib" in entries.tb_frame.f_code.co_filename
    ):
        entries = entries.tb_next
    return "".join(traceback.format_exception(type(error), error, entries)).rstrip()
