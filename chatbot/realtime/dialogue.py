"""Conversation items of the client, kept in step with the messages of the engine's conversation."""

from __future__ import annotations

from chatbot.engine.context_window import Message
from chatbot.engine.conversation import Conversation

from .items import ConversationItems, Item, spoken_item
from .listening import UserTurn
from .options import RealtimeOptions
from .refusal import Refusal


class RealtimeConversation:
    """One dialogue.

    Nothing here may be called while the talker replies.

    Args:
        talker: that holds the messages.
        options: how much is kept.

    Attributes:
        conversation: as the client sees it.
    """

    def __init__(self, talker: Conversation, options: RealtimeOptions) -> None:
        self.talker = talker
        self.conversation = ConversationItems(options.max_items, options.kept_audio_seconds)
        self._messages: dict[str, list[Message]] = {}

    async def commit(self, turn: UserTurn) -> Item:
        """The turn that the talker has heard becomes a message; its transcript is "" where nobody spoke.

        Raises:
            UserError: it was too short or too long.
        """
        first = len(self.talker.messages)
        heard = await self.talker.commit()
        item = spoken_item(turn.item_id, turn.samples())
        if not heard.tokens:
            item.parts[0].text = ""
        self._note(item, first, len(self.conversation.items))
        return item

    async def add(self, item: Item, previous_item_id: str | None) -> None:
        """A message of the client's, after the item named.

        Raises:
            Refusal: no such item, or one of this id is there already.
            UserError: a message that the model can't take.
        """
        place = self.conversation.place(previous_item_id)
        self.conversation.check_new(item)
        first = len(self.talker.messages)
        try:
            for part in item.parts:
                if part.pcm is not None:
                    heard = await self.talker.add_audio(part.samples())
                    part.text = "" if part.text is None and not heard.tokens else part.text
                else:
                    self.talker.add_text(item.role, part.text or "")
        except BaseException:
            del self.talker.messages[first:]
            raise
        self._note(item, first, place)

    def begin_reply(self, item: Item) -> str | None:
        """A reply has its first word; the id of the item before it."""
        self.conversation.insert(item, len(self.conversation.items))
        return self.conversation.before(item)

    def end_reply(self, item: Item, first: int) -> None:
        """The reply is over; its message is the talker's from number ``first`` on."""
        self._messages[item.id] = self.talker.messages[first:]
        self._forget_old()

    def delete(self, item_id: str) -> None:
        """Take a message out; a `Refusal` if there is none."""
        item = self.conversation.find(item_id)
        self.conversation.remove(item)
        self._messages.pop(item.id, None)
        self._arrange()

    def truncate(self, item: Item, seconds: float) -> None:
        """Of the last reply only the first ``seconds`` were heard; a `Refusal` if ``item`` isn't the last reply."""
        at = max((n for n, message in enumerate(self.talker.messages) if message.role == "assistant"), default=-1)
        if at < 0 or not any(message is self.talker.messages[at] for message in self._messages.get(item.id, [])):
            text = f"Only the last reply can be truncated, and {item.id!r} is not."
            raise Refusal(text, code="invalid_value", param="item_id")
        self.talker.truncate(seconds)
        self._messages[item.id] = [self.talker.messages[at]]

    def _note(self, item: Item, first: int, place: int) -> None:
        """``item`` is the talker's messages from number ``first`` on, and the conversation's number ``place``."""
        self._messages[item.id] = self.talker.messages[first:]
        is_last = place == len(self.conversation.items)
        self.conversation.insert(item, place)
        if not is_last:
            self._arrange()
        self._forget_old()

    def _forget_old(self) -> None:
        known = {item.id for item in self.conversation.items}
        if len(self._messages) > len(known):
            self._messages = {key: value for key, value in self._messages.items() if key in known}
            self._arrange()

    def _arrange(self) -> None:
        """The talker's messages in the conversation's order."""
        self.talker.messages[:] = [
            message for item in self.conversation.items for message in self._messages.get(item.id, [])
        ]
