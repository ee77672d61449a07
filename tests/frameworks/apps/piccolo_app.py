"""What ``piccolo asgi new`` makes, with its database in a file, and the contract's routes beside."""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.frameworks.apps.starlette_app import ROUTES

DATABASE = """\
from piccolo.conf.apps import AppRegistry
from piccolo.engine.sqlite import SQLiteEngine

DB = SQLiteEngine(path="shop.sqlite")
APP_REGISTRY = AppRegistry(apps=["home.piccolo_app", "piccolo_admin.piccolo_app"])
"""


def generate() -> Path:
    """A new project, in a folder that goes with this process."""
    folder = Path(tempfile.mkdtemp(prefix="piccolo-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    piccolo = Path(sys.executable).with_name("piccolo")
    starlette_and_any_server = "0\n0\n"
    subprocess.run(
        [piccolo, "asgi", "new", ".", "shop"],
        input=starlette_and_any_server,
        cwd=folder,
        text=True,
        check=True,
        capture_output=True,
    )
    (folder / "piccolo_conf.py").write_text(DATABASE)
    return folder


folder = generate()
os.chdir(folder)  # as it is run: paths of the project are relative to it
sys.path.insert(0, str(folder))

import app as generated  # noqa: E402 - it exists only now
from home.tables import Task  # noqa: E402

app = generated.app
app.routes[:0] = ROUTES
its_own_lifespan = app.router.lifespan_context


@asynccontextmanager
async def lifespan(app: Any) -> AsyncIterator[dict[str, str]]:
    async with its_own_lifespan(app):
        await Task.create_table(if_not_exists=True)
        await Task.insert(Task(name="write it down"))
        yield {"greeting": "hello from the lifespan"}
    print("the lifespan has ended")


app.router.lifespan_context = lifespan
