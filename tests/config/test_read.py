"""Reading every shape of a setting, and naming every mistake in it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from hyperserver.config.jsonschema import json_schema
from hyperserver.config.load import anchored, defaults_from, read
from hyperserver.config.read import dotted, problems_of, undotted
from hyperserver.config.reference import reference
from hyperserver.config.settings import describe, setting
from hyperserver.errors import ConfigError, Problem
from tests.config.toy import Auth, Door, Pair, Safe, Toy


def problems(data: Any) -> list[Problem]:
    with pytest.raises(ConfigError) as caught:
        read(Toy, data)
    assert str(caught.value) == "\n".join(map(str, caught.value.problems))
    return list(caught.value.problems)


def test_nested_tables_and_arrays_of_tables() -> None:
    toy = read(
        Toy,
        {
            "count": 2,
            "doors": [{"mode": 0o600}, {"at": ["back"], "width": 1}],
            "safe": {
                "pairs": [
                    {"left": "l", "right": "r"},
                    {"left": "m", "right": "s", "auth": {"mode": "required", "ca": "c"}},
                ],
                "auth": {"crls": ["x", "y"]},
                "every": "0s",
                "hsts": "180d",
                "share": 1,
            },
        },
    )
    assert toy == Toy(
        count=2,
        doors=(Door(mode=0o600), Door(at=("back",), width=1)),
        safe=Safe(
            pairs=(Pair("l", "r"), Pair("m", "s", Auth("required", "c"))),
            auth=Auth(crls=("x", "y")),
            every=0.0,
            hsts=180 * 86_400.0,
            share=1.0,
        ),
    )


def test_an_empty_list_is_right_where_it_is_the_default() -> None:
    assert read(Toy, {"safe": {"pairs": [], "auth": {"crls": []}}}) == Toy()
    (problem,) = problems({"names": []})
    assert str(problem) == "`names`: must not be empty"


def test_paths_are_seen_from_a_directory_in_every_table() -> None:
    data = {
        "safe": {
            "auth": {"ca": "ca.pem", "crls": ["a", "/b"]},
            "pairs": [{"left": "l", "right": "../r", "auth": {"ca": "c"}}, 5],
        },
        "doors": "wrong",
    }
    keys = describe(Toy)
    assert anchored(keys, data, Path("/etc")) == {
        "safe": {
            "auth": {"ca": "/etc/ca.pem", "crls": ["/etc/a", "/b"]},
            "pairs": [{"left": "/etc/l", "right": "/etc/../r", "auth": {"ca": "/etc/c"}}, 5],
        },
        "doors": "wrong",
    }
    assert defaults_from(keys, Path("/etc")) == {"home": "/etc/home"}


@pytest.mark.parametrize(
    ("data", "path", "message"),
    [
        ({"safe": {"hsts": 180}}, "safe.hsts", '`safe.hsts`: needs a unit; write "180s"'),
        ({"safe": {"share": "x"}}, "safe.share", "`safe.share`: must be a number, not 'x'"),
        ({"safe": {"share": True}}, "safe.share", "`safe.share`: must be a number, not true"),
        ({"safe": {"auth": {"crls": ["a", 5]}}}, "safe.auth.crls[1]", "`safe.auth.crls`: must hold a string, not 5"),
        ({"safe": {"auth": {"crls": "a"}}}, "safe.auth.crls", '`safe.auth.crls`: must be a list, not \'a\'; write ["a"]'),
        ({"safe": {"pairs": {}}}, "safe.pairs", "`safe.pairs`: must be a list, not a table; write [[safe.pairs]]"),
        ({"safe": {"pairs": [{"lft": "a"}]}}, "safe.pairs[0].lft", "unknown key `safe.pairs[0].lft`; did you mean `left`?"),
        ({"safe": {"auth": 5}}, "safe.auth", "`safe.auth` must be a table, not 5"),
        ({"doors": [{"mode": 999}]}, "doors[0].mode", "`doors[0].mode`: must be at most 0o777, not 0o1747"),
        ({"doors": [{"mode": 644}]}, "doors[0].mode", "`doors[0].mode`: must be at most 0o777, not 0o1204; octal is written 0o644"),
        # what a dataclass has found, which knows neither its index nor where it is used
        ({"safe": {"pairs": [{"left": "l", "right": "r"}, {"left": "l"}]}}, "safe.pairs[1]", "`safe.pairs[1]`: each needs a `left` and a `right`"),
        ({"safe": {"auth": {"mode": "required"}}}, "safe.auth.mode", '`safe.auth.mode`: "required" needs `safe.auth.ca` beside it'),
        (
            {"safe": {"pairs": [{"left": "l", "right": "r", "auth": {"mode": "required"}}]}},
            "safe.pairs[0].auth.mode",
            '`safe.pairs[0].auth.mode`: "required" needs `safe.pairs[0].auth.ca` beside it',
        ),
    ],
)  # fmt: skip
def test_mistakes(data: Any, path: str, message: str) -> None:
    (problem,) = problems(data)
    assert (str(problem), dotted(problem.path)) == (message, path)


@pytest.mark.parametrize(
    "data",
    [
        {"safe": {"auth": {"mode": "required", "ca": 5}}},
        {"safe": {"auth": {"mode": "required", "cas": "c"}}},
        {"safe": {"auth": {"mode": "required", "ca": ["c"]}}},
    ],
)
def test_a_contradiction_that_another_mistake_explains_is_not_told(data: Any) -> None:
    (problem,) = problems(data)
    assert "needs" not in str(problem)


def test_a_contradiction_beside_other_mistakes_is_told() -> None:
    found = problems({"safe": {"auth": {"mode": "required", "crls": 5}}, "count": "x"})
    assert [dotted(problem.path) for problem in found] == [
        "safe.auth.crls", "safe.auth.mode", "count",
    ]  # fmt: skip


def test_a_message_without_places_tells_its_keys() -> None:
    error = ConfigError("`listen[1].tls`: needs `tls.key`\nno key at all")
    first, second = problems_of(error)
    assert (first.path, first.message) == (("listen", 1, "tls"), "`listen[1].tls`: needs `tls.key`")
    assert (second.path, second.message) == ((), "no key at all")


def test_paths_are_written_and_read() -> None:
    path = ("listen", 0, "bind", 12)
    assert dotted(path) == "listen[0].bind[12]"
    assert undotted(dotted(path)) == path


# ---- what a table may need, and a check that two tables share -----------------------------------


def _check_password(entry: Account | Accounts) -> None:
    if entry.password is not None and entry.file is not None:
        raise ConfigError("`accounts.password`: contradicts `accounts.file`")


@dataclass(frozen=True, slots=True)
class Account:
    """One account."""

    name: str
    password: str | None = setting(None, "A password.")
    file: str | None = setting(None, "A file with it.", unit="path")

    def __post_init__(self) -> None:
        _check_password(self)


@dataclass(frozen=True, slots=True)
class Accounts:
    """All accounts."""

    others: tuple[Account, ...] = setting((), "More of them.")
    password: str | None = setting(None, "A password.")
    file: str | None = setting(None, "A file with it.", unit="path")

    def __post_init__(self) -> None:
        _check_password(self)


@dataclass(frozen=True, slots=True)
class Users:
    """The top."""

    accounts: Accounts = field(default_factory=Accounts)


@pytest.mark.parametrize(
    ("accounts", "message"),
    [
        ({"others": [{}]}, "`accounts.others[0].name`: must be set"),
        ({"others": [{"name": 5}]}, "`accounts.others[0].name`: must be a string, not 5"),
        ({"password": "p", "file": "f"}, "`accounts.password`: contradicts `accounts.file`"),
        (
            {"others": [{"name": "a"}, {"name": "b", "password": "p", "file": "f"}]},
            "`accounts.others[1].password`: contradicts `accounts.others[1].file`",
        ),
    ],
)
def test_needed_and_shared(accounts: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(Users, {"accounts": accounts})
    assert str(caught.value) == message
    assert f"`{dotted(caught.value.problems[0].path)}`" in message or "be set" in message


def test_what_is_needed_is_so_everywhere() -> None:
    table = json.loads(json_schema(Users))["properties"]["accounts"]["properties"]["others"]
    assert table["items"]["required"] == ["name"]
    assert "### `accounts.others.name`\n\n\n\n* type: string\n* default: none, it must be set" in reference(Users)  # fmt: skip
