"""A client's view of the engine's conversation: its messages as items, which the client names by their ids."""

from __future__ import annotations

from collections.abc import Iterator

from chatbot.engine.conversation import Conversation

from .client_events import ItemTruncate
from .items import Item
from .options import RealtimeOptions
from .refusal import Refusal


class ConversationItems:
    """The items of one conversation, in its order. They are the conversation's messages themselves: no second list.

    Args:
        conversation: all of its messages are items.
        options: how much is kept.
    """

    def __init__(self, conversation: Conversation, options: RealtimeOptions) -> None:
        self.conversation = conversation
        self.max_items, self.kept_audio_seconds = options.max_items, options.kept_audio_seconds

    def __iter__(self) -> Iterator[Item]:
        return (message for message in self.conversation.messages if isinstance(message, Item))

    def find(self, item_id: str, field: str = "item_id") -> Item:
        """The item of this id; a `Refusal` of ``field`` if there is none."""
        for item in self:
            if item.id == item_id:
                return item
        message = f"Item with id {item_id[:80]!r} does not exist in this conversation."
        raise Refusal(message, code="item_not_found", param=field)

    def before(self, item: Item) -> str | None:
        """The id of the item in front of ``item``."""
        items = list(self)
        number = items.index(item)
        return items[number - 1].id if number else None

    async def add(self, item: Item, previous_id: str | None) -> None:
        """Add an item of the client's after the one named ("root": at the front, None: at the end).

        Raises:
            Refusal: no such item, or one of this id is there already.
            UserError: a message that the model can't take.
        """
        place = self._place(previous_id)
        if any(each.id == item.id for each in self):
            message = f"Item with id {item.id!r} exists already in this conversation."
            raise Refusal(message, code="item_exists", param="item.id")
        content = [part.text or "" if part.pcm is None else part.samples() for part in item.parts]
        for part, turn in zip(item.parts, await self.conversation.encode(item, content), strict=True):
            if part.is_audio and part.text is None and not turn.tokens:
                part.text = ""  # nobody speaks
        self.conversation.insert(item, place)
        self.forget_old(item)

    def _place(self, previous_id: str | None) -> int | None:
        if previous_id is None:
            return None
        return 0 if previous_id == "root" else list(self).index(self.find(previous_id, "previous_item_id")) + 1

    def delete(self, item_id: str) -> None:
        """Take an item out; a `Refusal` if there is none."""
        self.conversation.remove(self.find(item_id))

    def truncate(self, event: ItemTruncate) -> None:
        """Reduce the last reply to what was heard of it; a `Refusal` if it isn't the item named, or is shorter."""
        item = self.find(event.item_id)
        if event.content_index >= len(item.parts) or item.parts[event.content_index].kind != "output_audio":
            text = f"Item {item.id!r} has no speech of the assistant at content_index {event.content_index}."
            raise Refusal(text, code="invalid_value", param="content_index")
        part = item.parts[event.content_index]
        if event.audio_end_ms > part.seconds * 1000 + 1:
            text = f"Audio content of {part.seconds * 1000:.0f}ms is already shorter than {event.audio_end_ms}ms."
            raise Refusal(text, code="invalid_value", param="audio_end_ms")
        if item is not self.conversation.last_reply:
            text = f"Only the last reply can be truncated, and {item.id!r} is not."
            raise Refusal(text, code="invalid_value", param="item_id")
        self.conversation.truncate(event.audio_end_ms / 1000)
        part.seconds, part.text = event.audio_end_ms / 1000, None

    def forget_old(self, newest: Item) -> None:
        """Drop the oldest items that are too many, though never ``newest``, and the oldest speech of the user."""
        others = [item for item in self if item is not newest]
        for item in others[: max(0, len(others) + 1 - self.max_items)]:
            self.conversation.remove(item)
        seconds = 0.0
        for item in reversed(list(self)):
            for part in item.parts:
                if part.pcm is not None:
                    seconds += part.seconds
                    if seconds > self.kept_audio_seconds:
                        part.pcm = None
