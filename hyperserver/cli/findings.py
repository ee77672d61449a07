"""What ``hyperserver check`` has found."""

from __future__ import annotations

from hyperserver.config.read import Path
from hyperserver.errors import ConfigError, Problem


class Finding:
    """Something about the configuration: ``level`` is "error", "warning" or "ok".

    ``code`` is the exit code that serving would end with, for errors.
    """

    __slots__ = ("code", "level", "problem")

    def __init__(
        self,
        level: str,
        message: str,
        path: Path = (),
        advice: str = "",
        code: int = ConfigError.exit_code,
    ) -> None:
        self.level = level
        self.code = code
        self.problem = Problem(path, message, advice)

    @classmethod
    def of(cls, problem: Problem) -> Finding:
        """An error in the configuration."""
        finding = cls("error", problem.message)
        finding.problem = problem
        return finding
