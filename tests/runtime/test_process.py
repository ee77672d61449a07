from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hyperserver.config import Process
from hyperserver.errors import ConfigError, HyperserverError
from hyperserver.runtime.process import PidFile, look_up, read_env_file, settle

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.skipif(os.name != "posix", reason="users and locks are POSIX's")
as_root = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can become another user"
)


def in_a_child(code: str, *, environ: dict[str, str] | None = None) -> str:
    """What ``code`` prints in a process of its own, which it may change as it likes."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT), **(environ or {})},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# ---- users and groups --------------------------------------------------------------------------


def test_nobody_else_is_the_default() -> None:
    assert look_up(Process()) is None


@pytest.mark.parametrize(
    ("process", "message"),
    [
        (Process(user="no-such-user"), r"`process\.user`: unknown user 'no-such-user'"),
        (Process(group="no-such-group"), r"`process\.group`: unknown group 'no-such-group'"),
        (Process(user="54321"), r"54321 has no account, and so no group; set `process\.group`"),
    ],
)
def test_who_is_unknown(process: Process, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        look_up(process)


def test_to_become_oneself_needs_no_rights() -> None:
    identity = look_up(Process(user=str(os.geteuid()), group=str(os.getegid())))
    assert identity is not None
    assert (identity.uid, identity.gid) == (os.geteuid(), os.getegid())


def test_only_root_becomes_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 4321)
    with pytest.raises(ConfigError, match=r"`process\.user`: only root can become 'root'"):
        look_up(Process(user="root"))
    with pytest.raises(ConfigError, match=r"`process\.group`: only root can become '7'"):
        look_up(Process(user="4321", group="7"))


BECOME = """
import os
from hyperserver.config import Process
from hyperserver.runtime.process import look_up, settle
process = Process(**{settings})
settle(process, look_up(process))
try:
    os.setuid(0)
except PermissionError:
    print(os.getresuid(), os.getresgid(), os.getgroups(), os.environ.get("HOME"))
"""


@as_root
def test_what_root_gives_up_is_given_up_for_good() -> None:
    import pwd

    nobody = pwd.getpwnam("nobody")
    said = in_a_child(BECOME.format(settings={"user": "nobody"}))
    uid, gid = nobody.pw_uid, nobody.pw_gid
    assert said == f"{(uid,) * 3} {(gid,) * 3} [{gid}] {nobody.pw_dir}\n"


@as_root
def test_a_group_in_place_of_the_users_own() -> None:
    said = in_a_child(BECOME.format(settings={"user": "12345", "group": "54321"}))
    assert said.startswith("(12345, 12345, 12345) (54321, 54321, 54321) [54321] ")


# ---- directory, umask, variables ---------------------------------------------------------------


def test_directory_and_umask(tmp_path: Path) -> None:
    code = (
        "import os; from hyperserver.config import Process; "
        "from hyperserver.runtime.process import settle; "
        f"settle(Process(chdir={str(tmp_path)!r}, umask=0o027)); "
        "print(os.getcwd(), oct(os.umask(0)))"
    )
    assert in_a_child(code) == f"{tmp_path} 0o27\n"


def test_a_directory_that_is_none(tmp_path: Path) -> None:
    message = rf"`process\.chdir`: cannot enter {tmp_path}/none: No such file"
    with pytest.raises(ConfigError, match=message):
        settle(Process(chdir=f"{tmp_path}/none"))


def test_what_the_environment_has_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "shop.env"
    file.write_text("TEST_KEPT=file\nTEST_NEW=file\n")
    monkeypatch.setenv("TEST_KEPT", "environment")
    monkeypatch.delenv("TEST_NEW", raising=False)
    settle(Process(env_file=str(file)))
    assert os.environ["TEST_KEPT"] == "environment"
    assert os.environ["TEST_NEW"] == "file"


def test_a_setting_in_the_file_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "shop.env"
    file.write_text("HYPERSERVER_LIMITS__REQUESTS=7\n")
    monkeypatch.setenv("HYPERSERVER_LIMITS__REQUESTS", "")  # to be undone
    settle(Process(env_file=str(file)))
    assert f"{file}: HYPERSERVER_LIMITS__REQUESTS sets nothing here" in caplog.text


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("A=b", "b"),
        ("A=", ""),
        ("  A = b c  ", "b c"),
        ("export A=b", "b"),
        ("A=b=c", "b=c"),
        ("A=b # why", "b"),
        ("A= # why", ""),
        ("A=b#c", "b#c"),
        ("A='b # c'", "b # c"),
        (r"A='b\n'", r"b\n"),
        ('A="b # c" # why', "b # c"),
        (r'A="b\n\t\"c\" \\ \$x"', 'b\n\t"c" \\ $x'),
        ("A=$HOME", "$HOME"),
        ("A=grün", "grün"),
    ],
)
def test_lines_of_a_file(tmp_path: Path, line: str, value: str) -> None:
    file = tmp_path / "env"
    file.write_text(f"\ufeff# first\n\n{line}\n   # last\nZ=z", encoding="utf-8")
    assert read_env_file(str(file)) == {"A": value, "Z": "z"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"A=b\nnothing\n", "env:2: not KEY=VALUE"),
        (b"A-B=c\n", "env:1: not KEY=VALUE"),
        (b"A=b\0c\n", "env:1: not KEY=VALUE"),
        (b"\n\nA='b\n", "env:3: a quote is not closed"),
        (b'A="b" c\n', "env:1: a quote is not closed"),
        (b"A=\xff\n", "env is not UTF-8"),
    ],
)
def test_a_file_that_is_wrong_says_where(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "env"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        read_env_file(str(file))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"`process\.env_file`: cannot read .*: No such file"):
        settle(Process(env_file=f"{tmp_path}/none"))


# ---- the process's number ----------------------------------------------------------------------


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the file "pid", until a line comes."""
    code = (
        "from hyperserver.runtime.process import PidFile\n"
        f"PidFile({str(tmp_path / 'pid')!r}); print('held', flush=True); input()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_it_holds_the_number_and_goes(tmp_path: Path) -> None:
    file = PidFile(str(tmp_path / "pid"))
    assert (tmp_path / "pid").read_text() == f"{os.getpid()}\n"
    file.remove()
    file.remove()
    assert not list(tmp_path.iterdir())


def test_a_second_server_is_refused(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    message = f"pid is locked: the server is running already, as process {holder.pid}"
    with pytest.raises(HyperserverError, match=message):
        PidFile(str(tmp_path / "pid"))
    assert (tmp_path / "pid").read_text() == f"{holder.pid}\n"


def test_a_number_that_was_left_behind_is_replaced(
    tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    holder.kill()
    holder.wait(10)
    assert (tmp_path / "pid").read_text() == f"{holder.pid}\n"
    file = PidFile(str(tmp_path / "pid"))
    assert (tmp_path / "pid").read_text() == f"{os.getpid()}\n"
    file.remove()


def test_another_servers_file_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    file = PidFile(str(path))
    path.unlink()
    path.write_text("1\n")
    file.remove()
    assert path.read_text() == "1\n"


def test_where_it_may_not_be_removed_it_is_emptied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = PidFile(str(tmp_path / "pid"))

    def refuse(_: str) -> None:
        raise PermissionError

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", refuse)
        file.remove()
    assert (tmp_path / "pid").read_text() == ""


def test_a_file_that_cannot_be_made(tmp_path: Path) -> None:
    with pytest.raises(HyperserverError, match=r"cannot write .*/none/pid: no such file"):
        PidFile(str(tmp_path / "none" / "pid"))


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "pid").symlink_to(tmp_path / "precious")
    (tmp_path / "precious").write_text("precious")
    with pytest.raises(HyperserverError, match="cannot write"):
        PidFile(str(tmp_path / "pid"))
    assert (tmp_path / "precious").read_text() == "precious"
