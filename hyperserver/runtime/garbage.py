"""How often the garbage collector runs where serving is all that a process does."""

from __future__ import annotations

import gc

#: Objects that may come to be, net of those that went, before the garbage collector looks at the
#: young ones.
_COLLECT_AFTER = 10_000
#: CPython's own numbers are below this; a larger one was chosen by somebody.
_DEFAULT_AT_MOST = 2_000


def collect_less_often() -> None:
    """Let the garbage collector run every some hundred requests, not every some dozen.

    A request in progress holds about fifteen objects that it counts. CPython's threshold of 700 is
    made for programs that have few objects at a time: with 256 requests in progress, looking for
    cycles among them took an eighth of all CPU. A threshold that was set to something else is left
    alone.
    """
    young, *older = gc.get_threshold()
    if 0 < young <= _DEFAULT_AT_MOST:
        gc.set_threshold(_COLLECT_AFTER, *older)
