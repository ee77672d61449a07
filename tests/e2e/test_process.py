"""As whom, where and with what the server runs."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.e2e.support import ROOT, Server

pytestmark = pytest.mark.skipif(os.name != "posix", reason="users and locks are POSIX's")
as_root = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can become another user"
)

APP = """
import json, os

GREETING = os.environ.get("GREETING")  # there before the application is imported
print("imported", flush=True)

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        raise RuntimeError
    umask = os.umask(0)
    os.umask(umask)
    about = {"cwd": os.getcwd(), "greeting": GREETING, "umask": umask, "uid": os.geteuid()}
    about["gid"] = os.getegid()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": json.dumps(about).encode()})
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "placed.py").write_text(APP)
    return tmp_path


def fails(project: Path, config: str) -> tuple[int, str]:
    """The exit code and what is said when the server does not start."""
    file = project / "hyperserver.toml"
    file.write_text(f'app = "placed:app"\n[[listen]]\nbind = ["127.0.0.1:0"]\n{config}')
    done = subprocess.run(
        [sys.executable, "-m", "hyperserver", "--config", str(file)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=project,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.stdout == ""  # the application was not imported
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr


def test_directory_variables_umask_and_number(project: Path, worker: str) -> None:
    (project / "elsewhere").mkdir()
    (project / "shop.env").write_text("GREETING='good day'\n")
    settings = (
        '[process]\nchdir = "elsewhere"\nenv_file = "shop.env"\numask = 0o027\npid_file = "pid"\n'
    )
    options = ("--app-dir", str(project))
    with Server("placed:app", worker, *options, config=settings, folder=project) as server:
        assert server.get("/").json == {
            "cwd": str(project / "elsewhere"),
            "greeting": "good day",
            "umask": 0o027,
            "uid": os.geteuid(),
            "gid": os.getegid(),
        }
        assert (project / "pid").read_text() == f"{server.pid}\n"
        code, said = fails(project, f'[process]\npid_file = "{project}/pid"\n')
        assert code == 1
        assert said == (
            f"hyperserver: {project}/pid is locked: the server is running already, "
            f"as process {server.pid}\n"
        )
        assert server.stop() == 0
    assert not (project / "pid").exists()


def test_a_relative_socket_is_removed_from_where_it_was_made(project: Path) -> None:
    (project / "elsewhere").mkdir()
    name = f"{project}/s.sock"
    relative = os.path.relpath(name, ROOT)
    settings = '[process]\nchdir = "elsewhere"\n'
    with Server(
        "placed:app",
        "asyncio",
        "--app-dir",
        str(project),
        config=settings,
        folder=project,
        bind=f"unix:{relative}",
    ) as server:
        assert Path(name).is_socket()
        assert server.stop() == 0
    assert not Path(name).exists()


@as_root
def test_another_group(project: Path) -> None:
    settings = '[process]\ngroup = "54321"\npid_file = "pid"\n'
    options = ("--app-dir", str(project))
    with Server("placed:app", "asyncio", *options, config=settings, folder=project) as server:
        assert server.get("/").json["gid"] == 54321
        assert server.stop() == 0
    assert not (project / "pid").exists()


@as_root
def test_the_application_never_sees_root() -> None:
    import pwd

    try:
        subprocess.run([sys.executable, "-c", "import json"], user="nobody", check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("nobody may not run this Python")
    with tempfile.TemporaryDirectory() as name:
        project = Path(name)
        project.chmod(0o755)
        (project / "placed.py").write_text(APP)
        settings = '[process]\nuser = "nobody"\npid_file = "pid"\n'
        options = ("--app-dir", name)
        with Server("placed:app", "asyncio", *options, config=settings, folder=project) as server:
            assert server.get("/").json["uid"] == pwd.getpwnam("nobody").pw_uid
            assert (project / "pid").read_text() == f"{server.pid}\n"
            assert server.stop() == 0
        # nobody may not remove what root has made
        assert (project / "pid").read_text() == ""


@pytest.mark.parametrize(
    ("setting", "message", "where"),
    [
        ('user = "no-such-user"', "unknown user 'no-such-user'", "hyperserver.toml:5:8"),
        ('group = "no-such-group"', "unknown group 'no-such-group'", "hyperserver.toml:5:9"),
        ('chdir = "/none"', "cannot enter /none: No such file or directory", "5:9"),
        ('env_file = "/none"', "cannot read /none: No such file or directory", "5:12"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(
    project: Path, setting: str, message: str, where: str
) -> None:
    code, said = fails(project, f"[process]\n{setting}\n")
    assert code == 78
    assert f"`process.{setting.partition(' ')[0]}`: {message}" in said
    assert where in said


def test_a_number_that_cannot_be_written(project: Path) -> None:
    code, said = fails(project, '[process]\npid_file = "/none/pid"\n')
    assert (code, said) == (
        1,
        "hyperserver: cannot write /none/pid: no such file or directory; see `process.pid_file`\n",
    )
