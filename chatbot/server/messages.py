"""Request body of ``POST /v1/chat/completions``: the part of OpenAI's schema that a spoken chatbot can honour.

Options that would change the answer and cannot be honoured are refused; labels of the request are accepted and unused.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from chatbot.realtime.client_events import known_or_set

FINITE = {"allow_inf_nan": False}
Zero = Annotated[float, Field(ge=0, le=0, allow_inf_nan=False)]


class Body(BaseModel):
    """A part of a request: no field is unknown and none is of another type than the schema says."""

    model_config = ConfigDict(extra="forbid", strict=True)

    @model_validator(mode="before")
    @classmethod
    def _drop_unknown_nulls(cls, value: Any) -> Any:
        """SDKs send every field of their types, null where it is unset: null of an unknown field asks for nothing."""
        return known_or_set(value, cls.model_fields)


class ReturnedPart(BaseModel):
    """A part of a reply that a client sends back: what the server added to it does no harm."""

    model_config = ConfigDict(extra="ignore", strict=True)


class TextPart(Body):
    """Written words."""

    type: Literal["text"]
    text: str


class InputAudio(Body):
    """An audio file in base64; any sample rate, mono or stereo."""

    data: str = Field(min_length=1, json_schema_extra={"format": "byte"})
    format: Literal["wav", "mp3", "flac", "ogg"]


class AudioPart(Body):
    """Spoken words."""

    type: Literal["input_audio"]
    input_audio: InputAudio


StopText = Annotated[str, Field(min_length=1, max_length=200)]
StopTexts = StopText | Annotated[list[StopText], Field(max_length=4)]  # OpenAI takes four, too


class UserMessage(Body):
    """A message of the user."""

    role: Literal["user"]
    content: (
        str
        | Annotated[
            list[Annotated[TextPart | AudioPart, Field(discriminator="type")]], Field(min_length=1, max_length=32)
        ]
    )
    name: str | None = None
    type: Literal["text"] | None = Field(default=None, description="not used: lm-evaluation-harness sends it")


class SystemMessage(Body):
    """Instructions to the model."""

    role: Literal["system", "developer"]
    content: str | Annotated[list[TextPart], Field(min_length=1, max_length=32)]
    name: str | None = None
    type: Literal["text"] | None = Field(default=None, description="not used: lm-evaluation-harness sends it")


class AudioReference(ReturnedPart):
    """A spoken reply that the server remembers."""

    id: str


class AssistantMessage(ReturnedPart):
    """An earlier reply: its words, or the id of its speech."""

    role: Literal["assistant"]
    content: str | Annotated[list[TextPart], Field(min_length=1, max_length=32)] | None = None
    audio: AudioReference | None = None


Message = Annotated[UserMessage | SystemMessage | AssistantMessage, Field(discriminator="role")]


class VoiceId(Body):
    """A voice by its id."""

    id: str


class AudioOutput(Body):
    """Voice and format of the spoken reply."""

    voice: str | VoiceId = Field(
        description="one of the model's (see /v1/models); 'default' and OpenAI's names are its own"
    )
    format: Literal["wav", "mp3", "flac", "opus", "pcm16"] = Field(description="pcm16 is 24 kHz mono; streams need it")


class StreamOptions(Body):
    """Additional content of a stream."""

    include_usage: bool | None = None
    include_obfuscation: Literal[False] | None = None


class PlainText(Body):
    """The only response format."""

    type: Literal["text"]


class CompletionRequest(Body):
    """A dialogue to be continued."""

    model: str
    messages: list[Message] = Field(min_length=1)
    modalities: Annotated[list[Literal["text", "audio"]], Field(min_length=1, max_length=2)] | None = None
    audio: AudioOutput | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2, **FINITE)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1, **FINITE)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    n: Literal[1] | None = None
    frequency_penalty: Zero | None = None
    presence_penalty: Zero | None = None
    logprobs: Literal[False] | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=0)] | None = None
    logit_bias: Annotated[dict[str, float], Field(max_length=0)] | None = None
    tool_choice: Literal["none", "auto"] | None = None
    parallel_tool_calls: bool | None = Field(default=None, description="not used: the model calls no tools")
    response_format: PlainText | None = None
    stop: StopTexts | None = Field(
        default=None, description="a written reply that is not streamed is cut in front of the first of them"
    )
    tools: Annotated[list[str], Field(max_length=0)] | None = None
    user: str | None = Field(default=None, description="not used")
    safety_identifier: str | None = Field(default=None, description="not used")
    prompt_cache_key: str | None = Field(default=None, description="not used")
    service_tier: str | None = Field(default=None, description="not used")
    metadata: dict[str, str] | None = Field(default=None, description="not used")
    store: Literal[False] | None = None
