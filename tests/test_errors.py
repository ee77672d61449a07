from __future__ import annotations

import pytest

from hyperserver.errors import ConfigError, Mistakes, UsageError


def test_mistakes_are_raised_as_one_each_once() -> None:
    mistakes = Mistakes()
    assert not mistakes
    mistakes.raise_all()
    with mistakes:
        raise ConfigError("`a`: wrong\n`b`: wrong")
    with mistakes:
        raise ConfigError("`b`: wrong")
    mistakes.add("`c`: wrong")
    assert mistakes
    with pytest.raises(ConfigError) as caught:
        mistakes.raise_all()
    assert str(caught.value).splitlines() == ["`a`: wrong", "`b`: wrong", "`c`: wrong"]


def test_nothing_else_is_collected() -> None:
    mistakes = Mistakes()
    with pytest.raises(UsageError), mistakes:
        raise UsageError("x")
    assert not mistakes
