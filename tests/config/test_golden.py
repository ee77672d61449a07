"""Wrong files and what their authors are told, by the real program; right ones and their origins."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from tests.conftest import Certificate
from tests.golden import assert_golden

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = Path(__file__).parent / "golden"
WRONG = sorted((GOLDEN / "wrong").glob("*.toml"))


def run(cwd: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("HYPERSERVER_")}
    return subprocess.run(
        [sys.executable, "-m", "hyperserver", *arguments],
        cwd=cwd,
        env={**clean, "PYTHONPATH": str(ROOT), **variables},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.fixture(scope="module")
def certificates(
    issue: Callable[..., Certificate],
    authority_file: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A folder with certificates and keys for the files."""
    folder = tmp_path_factory.mktemp("golden") / "tls"
    folder.mkdir()
    made = {
        "shop": issue("shop.test"),
        "shop-rsa": issue("shop.test", rsa=True),
        "other": issue("other.test"),
    }
    for name, pair in made.items():
        shutil.copy2(pair.chain, folder / f"{name}.pem")
        shutil.copy2(pair.key, folder / f"{name}.key")
    shutil.copy2(authority_file, folder / "clients.pem")
    shutil.copy2(made["shop"].key, folder / "public.key")
    (folder / "public.key").chmod(0o644)
    key = load_pem_private_key(made["shop"].key.read_bytes(), None)
    secret = BestAvailableEncryption(b"password")
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, secret)
    (folder / "encrypted.key").write_bytes(pem)
    (folder / "encrypted.key").chmod(0o600)
    return folder


@pytest.fixture
def project(tmp_path: Path, certificates: Path) -> Path:
    (tmp_path / "main.py").write_text("async def app(*args):\n    assert args[0] is None\n")
    shutil.copytree(certificates, tmp_path / "tls")
    return tmp_path


@pytest.mark.parametrize("path", WRONG, ids=lambda path: path.stem)
def test_golden_wrong_files(project: Path, path: Path) -> None:
    shutil.copy(path, project / "hyperserver.toml")
    done = run(project)
    assert done.returncode == 78
    assert done.stdout == ""
    assert_golden(path.with_suffix(".txt"), done.stderr)


@pytest.mark.parametrize("path", WRONG, ids=lambda path: path.stem)
def test_every_message_has_its_place(path: Path) -> None:
    blocks = path.with_suffix(".txt").read_text(encoding="utf-8").rstrip("\n").split("\n\n")
    lines = path.read_text(encoding="utf-8").splitlines()
    for block in blocks:
        message, place, _, excerpt, caret = block.splitlines()
        assert message.startswith("error: ")
        name, line, column = place.strip().removeprefix("--> ").split(":")
        assert name == "hyperserver.toml"
        assert excerpt == f"{line} | {lines[int(line) - 1]}"
        assert int(column) <= len(lines[int(line) - 1]) + 1
        assert "^" in caret


def test_there_are_enough_of_them() -> None:
    assert len(WRONG) >= 20


def test_golden_check(project: Path) -> None:
    (project / "hyperserver.toml").write_text(
        'app = "main:ap"\nworker = "asyncio"\n\n[[listen]]\nbind = ["192.0.2.1:0", "127.0.0.1:0"]\n'
        'tls = true\n\n[tls]\ncertificate = "a.pem"\nkey = "b.pem"\n'
    )
    done = run(project, "check", HYPERSERVER_LOG__LEVL="x")
    assert done.returncode == 78
    assert_golden(GOLDEN / "check.txt", unversioned(done.stdout + done.stderr))
    done = run(project, "check", "--json")
    assert (done.returncode, done.stderr) == (78, "")
    assert_golden(GOLDEN / "check.json", unversioned(done.stdout))


def unversioned(text: str) -> str:
    """``text`` without the versions of libraries, and without the engine that may not be there."""
    text = re.sub(r"HTTP/2 by \w+", "HTTP/2 by ENGINE", text)
    text = re.sub(r'(?:; |,\s+"advice": ")for nghttp2, which is faster, [^"\n]*"?', "", text)
    return re.sub(r"( by \w+) [0-9][\w.]*", r"\1 VERSION", text)


def test_golden_show(project: Path) -> None:
    (project / "hyperserver.toml").write_text(
        'app = "main:app"\ntimeouts.drain = "1s"\n\n[[listen]]\nbind = ["127.0.0.1:0"]\n\n[log]\n'
        'level = "warning"\n\n[limits]\nrequest_body = "1GiB"\n'
    )
    given = ("--worker", "trio", "--no-access-log", "--listen-backlog", "7")
    done = run(project, "config", "show", "--origin", *given, HYPERSERVER_TIMEOUTS__WRITE="9s")
    assert (done.returncode, done.stderr) == (0, "")
    (project / "again.toml").write_text(done.stdout)
    again = run(project, "config", "show", "-c", "again.toml")
    assert again.stdout.splitlines() == [
        re.sub(r" *  # \S+$", "", line) for line in done.stdout.splitlines()
    ]
    assert_golden(GOLDEN / "show.toml", done.stdout.replace(str(project), "/project"))
