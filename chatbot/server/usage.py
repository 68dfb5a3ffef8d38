"""Token usage of a request, in the two formats of OpenAI's interfaces (completions, audio)."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from chatbot.engine.events import Usage


class PromptDetails(BaseModel):
    """Tokens of the prompt by kind."""

    text_tokens: int
    audio_tokens: int
    cached_tokens: int = 0


class CompletionDetails(BaseModel):
    """Tokens of the reply by kind."""

    text_tokens: int
    audio_tokens: int
    reasoning_tokens: int = 0


class CompletionUsage(BaseModel):
    """Tokens of one request."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptDetails
    completion_tokens_details: CompletionDetails

    @classmethod
    def of(cls, usage: Usage) -> CompletionUsage:
        """As OpenAI counts them."""
        prompt, made = usage.input_text + usage.input_audio, usage.output_text + usage.output_audio
        return cls(
            prompt_tokens=prompt,
            completion_tokens=made,
            total_tokens=prompt + made,
            prompt_tokens_details=PromptDetails(text_tokens=usage.input_text, audio_tokens=usage.input_audio),
            completion_tokens_details=CompletionDetails(text_tokens=usage.output_text, audio_tokens=usage.output_audio),
        )


class InputDetails(BaseModel):
    """Tokens that were read, by kind."""

    text_tokens: int
    audio_tokens: int


class TokenUsage(BaseModel):
    """Tokens of a request for speech or for a transcription."""

    type: Literal["tokens"] = "tokens"
    input_tokens: int
    output_tokens: int
    total_tokens: int
    input_token_details: InputDetails

    @classmethod
    def of(cls, usage: Usage) -> TokenUsage:
        """As OpenAI counts them."""
        read, made = usage.input_text + usage.input_audio, usage.output_text + usage.output_audio
        details = InputDetails(text_tokens=usage.input_text, audio_tokens=usage.input_audio)
        return cls(input_tokens=read, output_tokens=made, total_tokens=read + made, input_token_details=details)
