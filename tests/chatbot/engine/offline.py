"""The text-guided reply made in the simplest way: one part after the other, each whole. Replies must equal it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from chatbot.engine.bundle_parts import Bundle
from corpus.audio.files import Samples
from lm.data.formats import chat_prompt
from lm.inference.generation import Generator
from lm.inference.output_head import Allowed


class OfflineAnswer(NamedTuple):
    heard: str
    said: str
    codes: np.ndarray
    audio: Samples
    is_cut: bool


class OfflineDialogue:
    def __init__(self, bundle: Bundle) -> None:
        self.bundle, self.turns = bundle, list[np.ndarray]()

    def answer(self, audio: Samples) -> OfflineAnswer:
        bundle, v, reply = self.bundle, self.bundle.vocabulary, self.bundle.settings.reply
        (codes,) = bundle.tokenizer.encode([audio])
        kept = self.turns[len(self.turns) - reply.remembered_turns :] if reply.remembered_turns else []
        row = chat_prompt(codes, v)
        while sum(map(len, kept)) + len(row) > bundle.max_prompt_tokens:
            kept = kept[1:]
        context, is_cut = np.concatenate([*kept, row[:0]]), False

        def go_on(stop: str, allowed: Allowed, most: int) -> np.ndarray:
            nonlocal row, is_cut
            assert isinstance(bundle.generator, Generator)
            mark, prompt = v.special(stop), np.concatenate([context, row])
            (made,) = bundle.generator.generate([prompt], max_new_tokens=most, stop=[mark], allowed=allowed)
            if made[-1] != mark:
                is_cut, made = True, np.append(made, np.int32(mark))
            row = np.concatenate([row, made])
            return made[:-1]

        heard = ""
        if reply.transcribe_first:
            row = np.append(row, np.int32(v.special("transcript")))
            heard = v.decode_text(go_on("assistant", "text", reply.max_text_tokens))
        said = v.decode_text(go_on("begin_of_audio", "text", reply.max_text_tokens))
        spoken = v.codes(go_on("end_of_audio", "speech", bundle.max_speech_tokens))
        self.turns.append(row)
        sound = bundle.decoder.decode(spoken, bundle.settings.voice) if len(spoken) else np.zeros(0, np.float32)
        return OfflineAnswer(heard, said, spoken, sound, is_cut)
