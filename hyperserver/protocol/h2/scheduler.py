"""Which stream may send the next DATA frame.

A connection's streams share one window and one transport, so some order decides who is served.
An engine tells a scheduler which streams have bytes and window (``push``), and asks it again and
again whose frame is next (``pop``). Clients state their wishes in one of two schemes; there is a
scheduler for each, deaf to the other's signals.

**Nearly always one stream is ready**, and then there is nothing to decide. So a stream that is
ready alone is only remembered; no scheme hears of it before a second one joins it.

**No stream starves**, whatever the client asked for. Both schemes let a response without end keep
others from ever being sent: one of a lower urgency, one after it, one that depends on it. So while
streams compete, one of every ``SHARE`` frames goes to whichever has waited longest. That costs the
preferred ones little, and bounds the wait: a stream with n others in front of it is served within
``SHARE * (n + 1)`` frames. It is the waiting that counts; neither being pushed again nor another
priority costs a stream its place.

**Within one urgency**, RFC 9218 §10 asks that responses which are of use only when complete
(non-incremental) go one by one in order of their streams, that the others share, and that neither
kind starve the other; how is left open. Here the two kinds take turns, frame by frame, where both
are ready. Then neither can more than double the other's time, whatever their numbers and sizes.
Were the non-incremental first, a download would hold up an event stream for as long as it lasts;
were all equals, it would itself be slowed down by each image that renders progressively.

**Memory is bounded** by the streams that are open: of those that a client only talks about, few
are remembered, the latest.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_left, insort
from typing import Generic, Protocol, TypeVar

from priority.priority import Stream as Node

from hyperserver.protocol.h2.priority import DEFAULT, Dependency, Priority

#: Where streams compete, one of so many frames goes to the one that has waited longest. In frames
#: of 16 KiB that is one per 256 KiB, more than most responses, whose order so stays as asked for.
SHARE = 16

#: Streams that may be announced before they exist.
MAX_ANNOUNCED = 128
#: Streams whose place in the tree is kept. ``priority`` descends a tree by recursion, and a client
#: can make it one long chain: together these must stay far from Python's recursion limit.
MAX_DEPENDENT = 192
MAX_IDLE = 64

_StreamT = TypeVar("_StreamT")


class Scheduler(Protocol):
    """The order of streams on one connection. Stream ids are those of HTTP/2; 0 is ignored.

    Nothing raises, in whatever order it is called. ``newest`` are the newest of the server's streams
    and of the client's.
    """

    newest: list[int]

    @property
    def announced(self) -> int:
        """How many streams were given a priority of RFC 9218 and do not exist yet."""

    def open(self, stream_id: int) -> None:
        """The stream exists now, with the priority that was announced for it or the default."""

    def pass_by(self, stream_id: int) -> None:
        """The stream has existed, and streams before it: none of them can be opened any more."""

    def close(self, stream_id: int) -> None:
        """The stream will send nothing more."""

    def adjust(self, stream_id: int, priority: Priority | Dependency) -> None:
        """The client has said how the stream is to be served, possibly before it exists.

        Ignored if it is another scheme's signal or if the stream was closed.
        """

    def push(self, stream_id: int) -> None:
        """The stream has something to send and window to send it. Ignored unless it is open."""

    def block(self, stream_id: int) -> None:
        """The stream has nothing to send, or no window."""

    def pop(self) -> int | None:
        """Take the stream that sends one frame now; push it again if it has more."""

    def goes_on(self, stream_id: int) -> bool:
        """The stream, which was taken just now, may as well send several frames in a row."""

    def __len__(self) -> int:
        """How many streams are ready to send."""
        ...

    def __bool__(self) -> bool:
        """Whether any stream is ready to send."""
        ...


class _FairScheduler(ABC, Generic[_StreamT]):
    """What does not depend on the scheme: who is ready, the frequent case, and the fair share.

    Either ``_alone`` is the only stream that is ready, or ``_waiting`` has those that are, longest
    waiting first. A scheme orders the latter in its own way and keeps in step.
    """

    __slots__ = ("_alone", "_open", "_preferred", "_waiting", "newest")

    def __init__(self) -> None:
        self._open: dict[int, _StreamT] = {}
        self._alone: int | None = None
        self._waiting: dict[int, _StreamT] = {}
        self._preferred = 0  # frames since the last one that went to the longest waiting
        self.newest = [0, 0]

    @abstractmethod
    def _sort_in(self, stream: _StreamT) -> None: ...

    @abstractmethod
    def _take_out(self, stream: _StreamT) -> None: ...

    @abstractmethod
    def _take_first(self) -> int: ...

    def push(self, stream_id: int) -> None:
        if stream_id not in self._open or stream_id == self._alone:
            return
        waiting = self._waiting
        if not waiting:
            alone = self._alone
            if alone is None:
                self._alone = stream_id
                return
            self._alone = None
            self._preferred = 0
            waiting[alone] = stream = self._open[alone]
            self._sort_in(stream)
        elif stream_id in waiting:
            return
        waiting[stream_id] = stream = self._open[stream_id]
        self._sort_in(stream)

    def block(self, stream_id: int) -> None:
        if stream_id == self._alone:
            self._alone = None
        elif (stream := self._waiting.pop(stream_id, None)) is not None:
            self._take_out(stream)

    def pop(self) -> int | None:
        stream_id = self._alone
        if stream_id is not None:
            self._alone = None
            return stream_id
        waiting = self._waiting
        if not waiting:
            return None
        self._preferred += 1
        if self._preferred < SHARE:
            stream_id = self._take_first()
            del waiting[stream_id]
        else:
            self._preferred = 0
            stream_id = next(iter(waiting))
            self._take_out(waiting.pop(stream_id))
        return stream_id

    def __len__(self) -> int:
        return len(self._waiting) or int(self._alone is not None)

    def __bool__(self) -> bool:
        return self._alone is not None or bool(self._waiting)

    def pass_by(self, stream_id: int) -> None:
        self._no_longer_idle(stream_id)

    def _is_idle(self, stream_id: int) -> bool:
        """The stream may still be opened: none after it was (RFC 9113 §5.1.1)."""
        return stream_id > self.newest[stream_id & 1]

    def _no_longer_idle(self, stream_id: int) -> None:
        if self._is_idle(stream_id):
            self.newest[stream_id & 1] = stream_id


class _Nobody:
    """The scheduler where no stream is open or announced. Streams can be closed, but not opened."""

    newest: list[int] = []  # noqa: RUF012 - nobody's
    announced = 0

    def open(self, stream_id: int) -> None:
        raise NotImplementedError

    def pass_by(self, stream_id: int) -> None:
        raise NotImplementedError

    def adjust(self, stream_id: int, priority: Priority | Dependency) -> None:
        raise NotImplementedError

    def close(self, stream_id: int) -> None:
        """It is."""

    def push(self, stream_id: int) -> None:
        """It is not open."""

    def block(self, stream_id: int) -> None:
        """It is."""

    def pop(self) -> int | None:
        return None

    def goes_on(self, stream_id: int) -> bool:
        return False

    def __len__(self) -> int:
        return 0

    def __bool__(self) -> bool:
        return False


NOBODY = _Nobody()


class _Response:
    """A stream under RFC 9218. ``rank`` is its place while it is ready and not alone."""

    __slots__ = ("id", "priority", "rank")

    def __init__(self, stream_id: int, priority: Priority) -> None:
        self.id = stream_id
        self.priority = priority
        self.rank = (0, 0, 0)


class UrgencyScheduler(_FairScheduler[_Response]):
    """The extensible priorities of RFC 9218, which is also the order where nothing is said."""

    __slots__ = ("_announced", "_one_by_one", "_shared", "_shared_turn", "_turn")

    def __init__(self) -> None:
        super().__init__()
        self._announced: dict[int, Priority] = {}
        # (urgency, turn, stream id), sorted; turn is 0 for the non-incremental. A list beats a
        # heap up to some thousand streams, and any element can be taken out of it.
        self._one_by_one: list[tuple[int, int, int]] = []
        self._shared: list[tuple[int, int, int]] = []
        self._turn = 0
        self._shared_turn = False

    @property
    def announced(self) -> int:
        """How many streams were given a priority and do not exist yet.

        They count towards SETTINGS_MAX_CONCURRENT_STREAMS (RFC 9218 §7.1), up to MAX_ANNOUNCED.
        """
        return len(self._announced)

    def open(self, stream_id: int) -> None:
        if stream_id in self._open or stream_id <= 0:
            return
        priority = DEFAULT
        announced = self._announced
        if announced:
            priority = announced.pop(stream_id, DEFAULT)
        self._open[stream_id] = _Response(stream_id, priority)
        self._no_longer_idle(stream_id)
        if announced:
            self._forget_passed()

    def pass_by(self, stream_id: int) -> None:
        self._no_longer_idle(stream_id)
        self._forget_passed()

    def _forget_passed(self) -> None:
        """Streams that were left out can no longer be opened (RFC 9113 §5.1.1)."""
        announced = self._announced
        for other in [other for other in announced if not self._is_idle(other)]:
            del announced[other]

    def close(self, stream_id: int) -> None:
        self.block(stream_id)
        self._open.pop(stream_id, None)

    def adjust(self, stream_id: int, priority: Priority | Dependency) -> None:
        if not isinstance(priority, Priority):
            return
        stream = self._open.get(stream_id)
        if stream is None:
            if self._is_idle(stream_id):
                self._announce(stream_id, priority)
        elif priority != stream.priority:
            if stream_id in self._waiting:
                self._take_out(stream)
                stream.priority = priority
                self._sort_in(stream)
            else:
                stream.priority = priority

    def goes_on(self, stream_id: int) -> bool:
        """It is one of those that are served one by one, and there are no others."""
        return not self._shared and not self._open[stream_id].priority.incremental

    def _announce(self, stream_id: int, priority: Priority) -> None:
        announced = self._announced
        if stream_id not in announced and len(announced) >= MAX_ANNOUNCED:
            del announced[next(iter(announced))]
        announced[stream_id] = priority

    def _sort_in(self, stream: _Response) -> None:
        urgency, incremental = stream.priority
        if incremental:
            self._turn += 1
            stream.rank = rank = (urgency, self._turn, stream.id)
            insort(self._shared, rank)
        else:
            stream.rank = rank = (urgency, 0, stream.id)
            insort(self._one_by_one, rank)

    def _take_out(self, stream: _Response) -> None:
        queue = self._shared if stream.priority.incremental else self._one_by_one
        del queue[bisect_left(queue, stream.rank)]

    def _take_first(self) -> int:
        one_by_one = self._one_by_one
        shared = self._shared
        if not shared:
            queue = one_by_one
        elif not one_by_one or shared[0][0] < one_by_one[0][0]:
            queue = shared
        elif one_by_one[0][0] < shared[0][0]:
            queue = one_by_one
        else:
            queue = shared if self._shared_turn else one_by_one
            self._shared_turn = not self._shared_turn
        return queue.pop(0)[2]


class DependencyScheduler(_FairScheduler[Node]):
    """The dependency tree of RFC 7540 §5.3, which RFC 9113 deprecates.

    The ``priority`` package's nodes share among siblings by weight. Its ``PriorityTree`` is not
    used, only they: it refuses legitimate trees deeper than 100, as browsers build, and a stream
    that is made to depend on its own dependent leaves others in two places, from which they are
    scheduled even after their removal.

    Idle streams have a place in the tree, since some clients build it of streams that they never
    open; the least recently named is dropped when there are too many. Closed streams have none.
    An open stream that finds the tree full waits until those in it are served.
    """

    __slots__ = ("_idle", "_nodes", "_root")

    def __init__(self) -> None:
        super().__init__()
        self._root = Node(0)
        self._root.active = False
        #: The streams in the tree.
        self._nodes: dict[int, Node] = {}
        #: Those of them that do not exist, least recently named first.
        self._idle: dict[int, Node] = {}

    @property
    def announced(self) -> int:
        """None: what this scheme says of idle streams counts towards no limit (RFC 7540 §5.3.4)."""
        return 0

    def open(self, stream_id: int) -> None:
        if stream_id in self._open or stream_id <= 0:
            return
        self._no_longer_idle(stream_id)
        fits = len(self._nodes) - len(self._idle) < MAX_DEPENDENT
        node = self._idle.pop(stream_id, None)
        if node is None:
            node = self._plant(stream_id) if fits else self._new_node(stream_id)
        elif not fits:
            self._uproot(node)
        self._open[stream_id] = node

    def close(self, stream_id: int) -> None:
        self.block(stream_id)
        node = self._open.pop(stream_id, None)
        if node is not None and node.parent is not None:
            self._uproot(node)

    def adjust(self, stream_id: int, priority: Priority | Dependency) -> None:
        if not isinstance(priority, Dependency) or priority.depends_on == stream_id:
            return
        node = self._named(stream_id)
        if node is None:
            return
        depends_on, weight, exclusive = priority
        parent = self._root if depends_on == 0 else self._named(depends_on)
        if parent is None:  # it was closed: the default (RFC 7540 §5.3.1, §5.3.5)
            parent = self._root
            _, weight, exclusive = Dependency()
        node.weight = min(max(weight, 1), 256)
        self._move(node, parent, exclusive)

    def _named(self, stream_id: int) -> Node | None:
        """The stream's place in the tree; an idle one is given one."""
        node = self._nodes.get(stream_id)
        if node is None:
            if not self._is_idle(stream_id):
                return None
            if len(self._idle) >= MAX_IDLE:
                oldest = next(iter(self._idle))
                self._uproot(self._idle.pop(oldest))
            node = self._idle[stream_id] = self._plant(stream_id)
        elif stream_id in self._idle:
            self._idle[stream_id] = self._idle.pop(stream_id)
        return node

    @staticmethod
    def _new_node(stream_id: int) -> Node:
        node = Node(stream_id)
        node.active = False
        return node

    def _plant(self, stream_id: int) -> Node:
        node = self._nodes[stream_id] = self._new_node(stream_id)
        self._root.add_child(node)
        return node

    def _uproot(self, node: Node) -> None:
        """Remove a node from the tree; those that depend on it depend on its parent now."""
        parent = self._detach(node)
        for child in node.children:
            parent.add_child(child)
        node.parent = None
        del self._nodes[node.stream_id]

    @staticmethod
    def _detach(node: Node) -> Node:
        """Take a node, with its dependents, from the parent, which is returned."""
        parent = node.parent
        assert parent is not None
        # like remove_child(), which builds the heap anew by comparing nodes in Python: sorting by
        # what is compared takes a seventh of the time
        parent.children = [child for child in parent.children if child is not node]
        parent.child_queue = sorted(
            (entry for entry in parent.child_queue if entry[1] is not node),
            key=lambda entry: (entry[0], entry[1].stream_id),
        )
        return parent

    def _move(self, node: Node, parent: Node, exclusive: bool) -> None:
        """Put a node with its dependents below ``parent`` (RFC 7540 §5.3.3)."""
        ancestor = parent.parent
        while ancestor is not None and ancestor is not node:
            ancestor = ancestor.parent
        before = self._detach(node)
        if ancestor is node:  # the parent to be depends on this node: it takes its place
            self._detach(parent)
            before.add_child(parent)
        if exclusive:
            parent.add_child_exclusive(node)
        else:
            parent.add_child(node)

    def _sort_in(self, stream: Node) -> None:
        stream.active = True

    def _take_out(self, stream: Node) -> None:
        stream.active = False

    def goes_on(self, stream_id: int) -> bool:
        return False

    def _take_first(self) -> int:
        try:
            stream_id = self._root.schedule()
        except IndexError:  # nobody in the tree is ready
            stream_id = next(iter(self._waiting))
        self._open[stream_id].active = False
        return stream_id
