"""Files that a log is appended to, and that may be moved away meanwhile."""

from __future__ import annotations

import os
import sys


class LogFile:
    """Appends to the file at ``path``, which several processes may do: each write is whole.

    What cannot be written (the disk is full) is lost, and said once on standard error: a log may
    cost lines, not requests. Raises OSError if the file cannot be opened.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._number = _open(path)
        self._fails = False

    def write(self, text: str) -> None:
        data = text.encode("utf-8", "backslashreplace")
        try:
            while data:
                data = data[os.write(self._number, data) :]
        except OSError as error:
            if not self._fails:
                sys.stderr.write(f"hyperserver: cannot write {self.path}: {error.strerror}\n")
            self._fails = True
        else:
            self._fails = False

    def flush(self) -> None:
        """Nothing is held back."""

    def isatty(self) -> bool:
        return False

    def fileno(self) -> int:
        return self._number

    def reopen(self) -> None:
        """Go on in the file that is at the path now. Raises OSError, and stays with the old one."""
        number, self._number = self._number, _open(self.path)
        os.close(number)

    def close(self) -> None:
        if self._number >= 0:
            os.close(self._number)
            self._number = -1


def _open(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
