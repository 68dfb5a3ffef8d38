"""Bounded queue of server events for one client; a producer waits while it is full."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from .ids import new_id

Event = dict[str, Any]


class Outbox:
    """A bounded queue of events from which some can be taken back.

    Args:
        size: events that may wait.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._events: deque[Event] = deque()
        self._has_events = asyncio.Event()
        self._has_room = asyncio.Event()
        self._has_room.set()

    def __len__(self) -> int:
        return len(self._events)

    async def emit(self, event: Event) -> None:
        """Give an event its id and add it, when there is room."""
        event = {"type": event["type"], "event_id": new_id("event"), **event}
        while len(self._events) >= self.size:
            await self._has_room.wait()
        self._events.append(event)
        self._note()

    async def get(self) -> Event:
        """The oldest event, when there is one."""
        while not self._events:
            await self._has_events.wait()
        event = self._events.popleft()
        self._note()
        return event

    def take_back(self, is_wanted: Callable[[Event], bool]) -> list[Event]:
        """Remove the events of a kind that wait, and return them."""
        taken = [event for event in self._events if is_wanted(event)]
        if taken:
            self._events = deque(event for event in self._events if not is_wanted(event))
            self._note()
        return taken

    def _note(self) -> None:
        (self._has_events.set if self._events else self._has_events.clear)()
        (self._has_room.set if len(self._events) < self.size else self._has_room.clear)()
