from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from hyperserver.config import (
    HTTP1,
    TLS,
    Config,
    Limits,
    Listen,
    Log,
    Timeouts,
    from_mapping,
    load_file,
)
from hyperserver.errors import ConfigError

EXAMPLE = Path(__file__).resolve().parents[2] / "config.example.toml"


def load(tmp_path: Path, text: str) -> Config:
    path = tmp_path / "server.toml"
    path.write_text(text, encoding="utf-8")
    return load_file(path)


def errors_of(data: dict[Any, Any]) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        from_mapping(data)
    lines = str(caught.value).splitlines()
    assert all(line.startswith("configuration: ") for line in lines)
    return [line.removeprefix("configuration: ") for line in lines]


# ---- what is right -----------------------------------------------------------------------------


def test_the_example_holds_the_defaults() -> None:
    config = load_file(EXAMPLE)
    assert Path(config.app_dir) == EXAMPLE.parent
    assert dataclasses.replace(config, app_dir=".") == Config()


def test_an_empty_file_holds_the_defaults(tmp_path: Path) -> None:
    config = load(tmp_path, "")
    assert dataclasses.replace(config, app_dir=".") == Config()


def test_every_kind_of_value(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        """
        app = "shop.asgi:create"
        factory = true
        worker = "trio"
        lifespan = "on"
        root_path = "/shop"
        date_header = false

        [[listen]]
        bind = ["0.0.0.0:8000", "[::]:8000"]
        backlog = 100

        [[listen]]
        bind = ["unix:/run/shop.sock"]
        mode = 0o660

        [[listen]]
        bind = ["0.0.0.0:8443"]
        tls = true

        [tls]
        certificate = "tls/chain.pem"
        key = "/etc/shop/private.pem"

        [limits]
        request_head = "1MiB"
        request_body = "1.5KiB"

        [timeouts]
        handshake = "3s"
        request_head = "500ms"
        keep_alive = "1h"
        min_body_rate = 1

        [http1]
        engine = "h11"

        [log]
        level = "debug"
        access = false
        """,
    )
    assert config == Config(
        app="shop.asgi:create",
        app_dir=str(tmp_path),
        factory=True,
        worker="trio",
        lifespan="on",
        root_path="/shop",
        date_header=False,
        listen=(
            Listen(bind=("0.0.0.0:8000", "[::]:8000"), backlog=100),
            Listen(bind=("unix:/run/shop.sock",), mode=0o660),
            Listen(bind=("0.0.0.0:8443",), tls=True),
        ),
        tls=TLS(certificate=str(tmp_path / "tls/chain.pem"), key="/etc/shop/private.pem"),
        limits=Limits(request_head=1024**2, request_body=1536),
        timeouts=Timeouts(handshake=3.0, request_head=0.5, keep_alive=3600.0, min_body_rate=1),
        http1=HTTP1(engine="h11"),
        log=Log(level="debug", access=False),
    )


def test_a_table_may_be_partial_and_the_rest_is_default() -> None:
    config = from_mapping({"timeouts": {"drain": "2s"}})
    assert config == Config(timeouts=Timeouts(drain=2.0))


@pytest.mark.parametrize("written", [".", "src", "../elsewhere", "/srv/app"])
def test_app_dir_is_relative_to_the_file(tmp_path: Path, written: str) -> None:
    config = load(tmp_path, f'app_dir = "{written}"')
    assert Path(config.app_dir) == tmp_path / written


def test_paths_of_a_mapping_are_relative_to_the_current_directory() -> None:
    config = from_mapping(
        {
            "app_dir": "src",
            "listen": [{"tls": True}],
            "tls": {"certificate": "c.pem", "key": "k.pem"},
        }
    )
    assert config.app_dir == "src"
    assert config.tls == TLS(certificate="c.pem", key="k.pem")


def test_a_mapping_may_hold_tuples() -> None:
    config = from_mapping({"listen": ({"bind": ("127.0.0.1:0",)},)})
    assert config.listen == (Listen(bind=("127.0.0.1:0",)),)


def test_a_body_limit_of_nothing_is_allowed() -> None:
    assert from_mapping({"limits": {"request_body": "0B"}}).limits.request_body == 0


# ---- what is wrong -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "message"),
    [
        # unknown keys
        ({"wroker": "trio"}, "unknown key `wroker`; did you mean `worker`?"),
        ({"timeout": {}}, "unknown key `timeout`; did you mean `timeouts`?"),
        (
            {"timeouts": {"keepalive": "1s"}},
            "unknown key `timeouts.keepalive`; did you mean `keep_alive`?",
        ),
        ({"log": {"zzz": 1}}, "unknown key `log.zzz`; known are level, file, access"),
        (
            {"listen": [{}, {"binds": []}]},
            "unknown key `listen[1].binds`; did you mean `bind`?",
        ),
        ({"http1": {"Engine": "h11"}}, "unknown key `http1.Engine`; did you mean `engine`?"),
        ({1: 2}, "unknown key `1`; known are app,"),
        # types
        ({"app": 5}, "`app`: must be a string, not 5"),
        ({"app": ["a:b"]}, "`app`: must be a string, not the list ['a:b']"),
        ({"factory": "yes"}, "`factory`: must be true or false, not 'yes'"),
        ({"factory": 1}, "`factory`: must be true or false, not 1"),
        ({"listen": [{"tls": "yes"}]}, "`listen[0].tls`: must be true or false, not 'yes'"),
        ({"tls": True}, "`tls` must be a table, not true"),
        ({"tls": {"certificate": 5}}, "`tls.certificate`: must be a string, not 5"),
        ({"worker": True}, "`worker`: must be a string, not true"),
        ({"limits": {"request_fields": "128"}}, "must be a whole number, not '128'"),
        ({"limits": {"request_fields": 12.5}}, "must be a whole number, not 12.5"),
        ({"limits": {"request_fields": True}}, "must be a whole number, not true"),
        ({"limits": {"request_fields": {}}}, "must be a whole number, not a table"),
        ({"limits": 5}, "`limits` must be a table, not 5"),
        ({"limits": [1]}, "`limits` must be a table, not the list [1]"),
        ({"log": "debug"}, "`log` must be a table, not 'debug'"),
        # lists
        ({"listen": {"bind": []}}, "`listen`: must be a list, not a table; write [[listen]]"),
        ({"listen": []}, "`listen`: must not be empty"),
        ({"listen": ["127.0.0.1:80"]}, "`listen[0]` must be a table, not '127.0.0.1:80'"),
        ({"listen": [{"bind": "a:1"}]}, "`listen[0].bind`: must be a list, not 'a:1'"),
        ({"listen": [{"bind": []}]}, "`listen[0].bind`: must not be empty"),
        ({"listen": [{"bind": [8000]}]}, "`listen[0].bind`: must hold a string, not 8000"),
        # units
        ({"timeouts": {"drain": 30}}, '`timeouts.drain`: needs a unit; write "30s"'),
        ({"timeouts": {"drain": "30"}}, '`timeouts.drain`: needs a unit; write "30s"'),
        ({"timeouts": {"drain": "30x"}}, "`timeouts.drain`: unknown unit 'x'; use one of ms, s,"),
        ({"timeouts": {"drain": "soon"}}, '`timeouts.drain`: expected a duration such as "30s"'),
        ({"limits": {"request_head": 65536}}, '`limits.request_head`: needs a unit; write "65536B"'),
        ({"limits": {"request_head": "64kb"}}, "`limits.request_head`: unknown unit 'kb'"),
        # ranges
        ({"timeouts": {"drain": "0s"}}, "`timeouts.drain`: must be more than zero"),
        ({"limits": {"request_head": "1B"}}, "must be at least 1KiB, not 1B"),
        ({"limits": {"request_target": "255B"}}, "must be at least 256B, not 255B"),
        ({"limits": {"request_fields": 7}}, "must be at least 8, not 7"),
        ({"timeouts": {"min_body_rate": 0}}, "must be at least 1, not 0"),
        ({"listen": [{"backlog": 0}]}, "`listen[0].backlog`: must be at least 1, not 0"),
        ({"listen": [{"backlog": 2**40}]}, "`listen[0].backlog`: must be at most 1000000, not"),
        ({"listen": [{"mode": -1}]}, "`listen[0].mode`: must be at least 0, not -1"),
        ({"listen": [{"mode": 666}]}, "`listen[0].mode`: must be at most 0o777, not 0o1232"),
        # choices
        ({"worker": "Trio"}, "`worker`: must be one of auto, asyncio, uvloop, trio, not 'Trio'"),
        ({"lifespan": "maybe"}, "`lifespan`: must be one of auto, on, off, not 'maybe'"),
        ({"http1": {"engine": "llhttp"}}, "`http1.engine`: must be one of auto, httptools, h11"),
        ({"log": {"level": "warn"}}, "`log.level`: must be one of debug, info, warning, error,"),
        # contradictions
        ({"tls": {"certificate": "c.pem"}}, "`tls.certificate`: needs `tls.key` beside it"),
        ({"tls": {"key": "k.pem"}}, "`tls.key`: needs `tls.certificate` beside it"),
        ({"listen": [{"tls": True}]}, "`listen[0].tls`: needs `tls.certificate` and `tls.key`"),
        (
            {"tls": {"certificate": "c.pem", "key": "k.pem"}},
            "`tls`: no listener uses it; set `tls = true` in a [[listen]]",
        ),
        # forms
        ({"root_path": "shop"}, '`root_path`: must begin with "/"'),
    ],
)  # fmt: skip
def test_a_mistake_names_the_key_and_the_remedy(data: dict[Any, Any], message: str) -> None:
    (error,) = errors_of(data)
    assert message in error


def test_all_mistakes_are_reported_together_in_the_order_of_the_file() -> None:
    errors = errors_of(
        {
            "wroker": "trio",
            "listen": [{"bind": []}, {"mode": "0660"}],
            "timeouts": {"drain": 1, "write": 2, "linger": "1s"},
            "log": {"level": "loud"},
        }
    )
    assert [error.split("`")[1] for error in errors] == [
        "wroker",
        "listen[0].bind",
        "listen[1].mode",
        "timeouts.drain",
        "timeouts.write",
        "log.level",
    ]


def test_each_line_names_the_place(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, "a = 1\nb = 2\n")
    lines = str(caught.value).splitlines()
    assert len(lines) == 2
    path = tmp_path / "server.toml"
    assert lines[0].startswith(f"{path}:1:1: unknown key `a`; known are ")
    assert lines[1].startswith(f"{path}:2:1: unknown key `b`; known are ")


def test_a_file_that_is_not_toml_names_the_place(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r'server\.toml:2:10: not TOML: .*; write "trio"'):
        load(tmp_path, 'app = "a:b"\nworker = trio\n')


def test_a_key_that_appears_twice_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"server\.toml:2:1: .*only once"):
        load(tmp_path, 'worker = "trio"\nworker = "asyncio"\n')


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "nowhere.toml"
    with pytest.raises(ConfigError) as caught:
        load_file(path)
    assert str(caught.value) == f"cannot read {path}: No such file or directory"


def test_a_directory_is_not_a_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Is a directory"):
        load_file(tmp_path)


def test_a_file_that_is_not_utf_8_is_named(tmp_path: Path) -> None:
    path = tmp_path / "server.toml"
    path.write_bytes(b'app = "caf\xe9:app"')
    with pytest.raises(ConfigError, match=r"server\.toml is not UTF-8"):
        load_file(path)


def test_config_errors_have_an_exit_code_of_their_own() -> None:
    assert ConfigError.exit_code == 78
