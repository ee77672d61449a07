"""Which workers there ought to be: decisions alone, by a clock that is passed in.

A *slot* is a place for one worker; there are as many as the configuration wants workers. A slot's
worker is replaced in the order start, wait until it is ready, drain the old one: nothing is lost
that was accepted, and there is always one who accepts. One slot at a time is being renewed.

Each reload is a *generation*. One that has not had a single worker ready is on trial: if its first
worker fails, the reload is given up and the workers in place stay. A generation that has proved
itself may fail now and then; its workers are started again, after longer and longer pauses.

Whoever carries decisions out takes ``actions``, and reports back what came of them.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

#: A worker that has served for so long has not failed *again* when it does.
_STABLE = 10.0
#: The pause before the second start in a row; it doubles up to the longest.
_FIRST_PAUSE = 0.25
_LONGEST_PAUSE = 30.0
#: The longest where no other worker serves: better one that fails at times than none.
_LONGEST_ALONE = 1.0
#: So many failures before any worker was ready are enough; fewer if there are fewer workers.
_ENOUGH = 3
#: Seconds that a worker may take to end when nothing more is waited for.
_FORCED = 2.0

# states of a member
STARTING, READY, DRAINING = range(3)


@dataclass(frozen=True, slots=True)
class Pace:
    """Bounds in seconds: of starting, of silence while serving, of draining."""

    startup: float = 120.0
    heartbeat: float = 30.0
    drain: float = 60.0


@dataclass(frozen=True, slots=True)
class Start:
    """Start worker ``number`` for ``slot`` with the configuration of ``generation``."""

    number: int
    slot: int
    generation: int


@dataclass(frozen=True, slots=True)
class Drain:
    """Tell a worker to finish; ``rolling`` says that others serve on, so there is no hurry."""

    number: int
    rolling: bool


@dataclass(frozen=True, slots=True)
class Force:
    """Tell a worker to wait for nothing."""

    number: int


@dataclass(frozen=True, slots=True)
class Kill:
    """End a worker that does not end by itself; ``stuck`` says that its loop stands still."""

    number: int
    stuck: bool = False


@dataclass(frozen=True, slots=True)
class Say:
    """A line for the log."""

    level: int
    text: str


Action = Start | Drain | Force | Kill | Say


@dataclass(slots=True)
class Member:
    """A worker: ``since`` is when it entered its state, ``heard`` when it last showed life."""

    number: int
    slot: int
    generation: int
    since: float
    heard: float
    state: int = STARTING
    deadline: float | None = None
    killed: bool = False


@dataclass(slots=True)
class Slot:
    """``current`` serves or is to, ``successor`` is to take its place."""

    index: int
    current: Member | None = None
    successor: Member | None = None
    #: Starts that failed in a row.
    failures: int = 0
    #: No start before this time.
    not_before: float = 0.0
    #: Why the worker is to be replaced, if not for its generation.
    worn: str = ""


@dataclass(slots=True)
class Fleet:
    """``count`` workers at ``pace``. ``over`` is when there is nothing left to do."""

    count: int
    pace: Pace
    actions: list[Action] = field(default_factory=list)
    #: The generation that workers ought to have, and the newest that one has served with.
    generation: int = 0
    proved: int | None = None
    stopping: bool = False
    #: Too many workers failed before any was ready.
    failed: bool = False
    members: dict[int, Member] = field(default_factory=dict)
    slots: list[Slot] = field(default_factory=list)
    _next_number: int = 1
    _early_failures: int = 0

    @property
    def over(self) -> bool:
        return self.stopping and not self.members

    @property
    def is_settled(self) -> bool:
        """Every slot has a worker that is ready and as it ought to be."""
        return len(self.slots) == self.count and not any(map(self._is_open, self.slots))

    @property
    def ready_count(self) -> int:
        return sum(member.state == READY for member in self.members.values())

    def take_actions(self) -> list[Action]:
        actions, self.actions = self.actions, []
        return actions

    # ---- what is asked for ---------------------------------------------------------------

    def begin(self, now: float) -> None:
        self.resize(self.count, now)

    def resize(self, count: int, now: float) -> None:
        """Have ``count`` slots; workers beyond are drained, the last ones first."""
        self.count = count
        while len(self.slots) < count:
            self.slots.append(Slot(len(self.slots)))
        while len(self.slots) > count:
            slot = self.slots.pop()
            for member in (slot.successor, slot.current):
                if member is not None:
                    self._retire(member, now)
        self._advance(now)

    def reload(self, now: float) -> int:
        """Replace every worker, one after the other, by one of a new generation; its number."""
        self.generation += 1
        self._advance(now)
        return self.generation

    def stop(self, now: float) -> None:
        """Drain all workers, without delay; those that have not begun to serve are ended."""
        self.stopping = True
        for member in list(self.members.values()):
            self._retire(member, now, rolling=False)

    def force(self, now: float) -> None:
        """End all workers now."""
        self.stopping = True
        for member in self.members.values():
            if member.state == STARTING:
                self._retire(member, now)
            elif not member.killed:
                self._enter(member, DRAINING, now)
                self.actions.append(Force(member.number))
                member.deadline = now + _FORCED

    # ---- what has happened ---------------------------------------------------------------

    def ready(self, number: int, now: float) -> None:
        """A worker accepts connections."""
        member = self.members.get(number)
        if member is None or member.state != STARTING:
            return
        self._enter(member, READY, now)
        if self.proved is None or member.generation > self.proved:
            self.proved = member.generation
        slot = self._slot_of(member)
        if slot is not None and slot.successor is member:
            old, slot.current, slot.successor = slot.current, member, None
            slot.worn = ""
            if old is not None:
                self._retire(old, now)
        self._advance(now)

    def beat(self, number: int, now: float) -> None:
        """A worker's event loop turns."""
        member = self.members.get(number)
        if member is not None:
            member.heard = now

    def worn(self, number: int, why: str, now: float) -> None:
        """A worker has served for long enough."""
        member = self.members.get(number)
        slot = None if member is None else self._slot_of(member)
        if slot is not None and slot.current is member and not slot.worn:
            slot.worn = why
            self._advance(now)

    def leaving(self, number: int, now: float) -> None:
        """A worker has begun to drain without being told: somebody has sent it a signal."""
        member = self.members.get(number)
        if member is not None and member.state != DRAINING:
            slot = self._slot_of(member)
            self._enter(member, DRAINING, now)
            member.deadline = now + self.pace.drain
            if slot is not None:
                self._vacate(slot, member)
            self._advance(now)

    def exited(self, number: int, how: str, now: float, message: str = "") -> None:
        """A worker's process is gone; ``message`` is what it had to say of its failure."""
        member = self.members.pop(number, None)
        if member is None:
            return
        slot = self._slot_of(member)
        if member.state == DRAINING or self.stopping or slot is None:
            return
        what = message or how
        if member.state == READY and now - member.since >= _STABLE:
            slot.failures = 0
        slot.failures += 1
        pause = 0.0
        if slot.failures > 1:
            longest = _LONGEST_PAUSE if self.ready_count else _LONGEST_ALONE
            pause = min(_FIRST_PAUSE * 2 ** (slot.failures - 2), longest)
        slot.not_before = now + pause
        if self.proved is None:
            self._early_failures += 1
        was_successor = slot.successor is member
        self._vacate(slot, member)
        if self.proved is None:
            if self._early_failures >= min(_ENOUGH, self.count):
                self.give_up(now)
            # else not said yet: it may be what the server ends with
        elif member.generation > self.proved:
            self.generation = self.proved
            slot.failures, slot.not_before = 0, now
            self._say(
                logging.ERROR,
                f"the reload is given up, the workers in place stay: worker {number}: {what}",
            )
        else:
            did = "is killed, as it does not respond" if member.killed else what
            later = f" in {pause:g} s" if pause else ""
            trying = "the old one stays for now" if was_successor else f"starting another{later}"
            self._say(logging.ERROR, f"worker {number}: {did}; {trying}")
        self._advance(now)

    def give_up(self, now: float) -> None:
        """No worker can be had."""
        self.failed = True
        self.stop(now)

    # ---- time ----------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Act on what is late or due."""
        for member in self.members.values():
            due, stuck = self._deadline_of(member)
            if due is not None and due <= now and not member.killed:
                member.killed = True
                self.actions.append(Kill(member.number, stuck))
        self._advance(now)

    def next_look(self) -> float | None:
        """When to ``tick`` at the latest; None if nothing can become due."""
        times = [due for due in map(self._due, self.members.values()) if due is not None]
        if not self.stopping:
            times += [slot.not_before for slot in self.slots if self._waits(slot)]
        return min(times, default=None)

    def _due(self, member: Member) -> float | None:
        return None if member.killed else self._deadline_of(member)[0]

    def _deadline_of(self, member: Member) -> tuple[float | None, bool]:
        """When a worker is to be killed, and whether that is because its loop stands still."""
        if member.deadline is not None:
            return member.deadline, False
        if member.state == STARTING:
            return member.since + self.pace.startup, True
        return member.heard + self.pace.heartbeat, True

    # ---- within --------------------------------------------------------------------------

    def _advance(self, now: float) -> None:
        """Fill what is empty, then renew one slot, unless one is being renewed."""
        if self.stopping:
            return
        for slot in self.slots:
            if self._is_vacant(slot) and slot.not_before <= now:
                # what is on trial may not be given the place of a worker that has failed
                generation = self.generation if self.proved is None else self.proved
                slot.current = self._start(slot, generation, now)
        if any(slot.successor is not None for slot in self.slots):
            return
        for slot in self.slots:
            if self._wants_successor(slot) and slot.not_before <= now:
                if slot.worn:
                    assert slot.current is not None
                    text = f"worker {slot.current.number}: {slot.worn}; replacing it"
                    self._say(logging.INFO, text)
                slot.successor = self._start(slot, self.generation, now)
                return

    def _wants_successor(self, slot: Slot) -> bool:
        current = slot.current
        return (
            current is not None
            and current.state == READY
            and (current.generation < self.generation or slot.worn != "")
        )

    def _is_vacant(self, slot: Slot) -> bool:
        """A worker may be started. One that failed is not tried again before another is ready."""
        return slot.current is None and not (slot.failures and self.proved is None)

    def _waits(self, slot: Slot) -> bool:
        """Its next start is only a matter of time."""
        if self._is_vacant(slot):
            return True
        renewing = any(other.successor is not None for other in self.slots)
        return not renewing and self._wants_successor(slot)

    def _is_open(self, slot: Slot) -> bool:
        current = slot.current
        return current is None or current.state != READY or self._wants_successor(slot)

    def _start(self, slot: Slot, generation: int, now: float) -> Member:
        member = Member(self._next_number, slot.index, generation, now, now)
        self._next_number += 1
        self.members[member.number] = member
        self.actions.append(Start(member.number, slot.index, generation))
        return member

    def _retire(self, member: Member, now: float, *, rolling: bool = True) -> None:
        if member.state == STARTING:
            if not member.killed:
                member.killed = True
                self.actions.append(Kill(member.number))
        elif not member.killed:
            self.actions.append(Drain(member.number, rolling))
            member.deadline = now + self.pace.drain
        self._enter(member, DRAINING, now)

    def _enter(self, member: Member, state: int, now: float) -> None:
        member.state = state
        member.since = member.heard = now

    def _vacate(self, slot: Slot, member: Member) -> None:
        """``member`` is out; a successor that is on its way takes the place."""
        if slot.successor is member:
            slot.successor = None
        elif slot.current is member:
            slot.current, slot.successor = slot.successor, None
            slot.worn = ""

    def _slot_of(self, member: Member) -> Slot | None:
        slot = self.slots[member.slot] if member.slot < len(self.slots) else None
        if slot is not None and (slot.current is member or slot.successor is member):
            return slot
        return None

    def _say(self, level: int, text: str) -> None:
        self.actions.append(Say(level, text))
