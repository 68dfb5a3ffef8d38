"""Measurement of what a served chatbot answers and should not, and of what it should and does not."""

from __future__ import annotations

import base64
import contextlib
import json
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from corpus.audio.files import encode_wav
from evaluation.answers.answering_models import served_model
from evaluation.question_answering.scoring import share
from evaluation.served_chat.server import serve_bundle
from runtime.artefact import write_text
from runtime.chat_endpoint import ChatEndpoint, ChatRequest, UnansweredError
from runtime.errors import UserError
from runtime.journal import Journal
from runtime.stage import Run

from .config import RejectionConfig
from .prompts import RejectionPrompt, make_prompts

ANSWERED = "answered.jsonl"
LABELS = {
    "sound": "sounds in which nobody speaks that were answered",
    "speech": "speech that was not heard",
    "known": "questions of the world that were not answered",
    "outside": "questions outside the world that were not answered",
}


def measure_rejection(config: RejectionConfig, run: Run) -> dict[str, Any]:
    """Send every prompt, count, write the table; returns the metrics."""
    prompts = make_prompts(config)
    with Journal(run.folder / ANSWERED) as journal:
        done = {str(record["id"]): record for record in journal.records}
        left = [prompt for prompt in prompts if prompt.id not in done]
        if left:
            bar = run.progress(len(prompts), "prompts", start=len(prompts) - len(left), unit="prompt")
            with endpoint(config, run) as client, bar, ThreadPoolExecutor(config.requests.concurrency) as pool:
                for record in pool.map(lambda prompt: ask(client, prompt), left):
                    journal.append(record)
                    done[str(record["id"])] = record
                    bar.update()
    records = [done[prompt.id] for prompt in prompts]
    write_text(
        run.folder / "replies.jsonl", "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    )
    counts = count(records)
    text = table(counts)
    write_text(run.folder / "rejection.md", text)
    run.say(text)
    return summarise(counts)


@contextlib.contextmanager
def endpoint(config: RejectionConfig, run: Run) -> Iterator[ChatEndpoint]:
    """A client of the server, which runs while the context is open where it is ours."""
    if config.url is not None:
        yield ChatEndpoint(config.url, served_model(config.url, "")[0], config.requests)
        return
    assert config.bundle is not None
    most = config.requests.concurrency
    with serve_bundle(config.bundle, run.folder / "server.log", max_talkers=most, threads=config.threads) as served:
        url = f"{served.url}/v1"
        yield ChatEndpoint(url, served_model(url, "")[0], config.requests)


def ask(client: ChatEndpoint, prompt: RejectionPrompt) -> dict[str, Any]:
    """The record of one prompt's reply, in text.

    Raises:
        UserError: there is none.
    """
    content: Any = prompt.content
    if not isinstance(content, str):
        data = base64.b64encode(encode_wav(content)).decode()
        content = [{"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}]
    request = ChatRequest(prompt.id, [{"role": "user", "content": content}], {"modalities": ["text"]})
    try:
        reply = client.ask(request, read_reply)
    except UnansweredError as error:
        remedy = "see server.log; call again, replies are kept"
        raise UserError(client.url, found=f"no answer to {prompt.id} ({error})", remedy=remedy) from error
    return {"id": prompt.id, "part": prompt.part, "group": prompt.group, **reply}


def read_reply(body: Any) -> dict[str, Any]:
    """The transcript and the reply in a response, and whether it was understood (a field of speechweave's server)."""
    said = body["choices"][0]["message"]["content"]
    return {"heard": body.get("heard"), "said": str(said or ""), "is_understood": bool(body.get("is_understood", True))}


def count(records: list[dict[str, Any]]) -> dict[str, dict[str, list[bool]]]:
    """By part and group, for each prompt: answered (sounds), not heard (speech), not answered (questions)."""
    found: defaultdict[str, defaultdict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        is_heard = record["heard"] != ""
        is_answered = is_heard and record["is_understood"]
        counted = {"sound": is_heard, "speech": not is_heard}.get(record["part"], not is_answered)
        found[record["part"]][record["group"]].append(counted)
    return {part: dict(groups) for part, groups in found.items()}


def summarise(counts: dict[str, dict[str, list[bool]]]) -> dict[str, Any]:
    """The metrics: numbers of prompts and shares."""
    whole = {part: [one for group in groups.values() for one in group] for part, groups in counts.items()}
    known = counts["known"]
    return {
        "sounds": len(whole["sound"]),
        "false_answers": round(share(whole["sound"]), 5),
        "speech": len(whole["speech"]),
        "missed_speech": round(share(whole["speech"]), 5),
        "questions": len(known["spoken"]),
        "lost_spoken": round(share(known["spoken"]), 5),
        "lost_typed": round(share(known["typed"]), 5),
        "outside": len(whole["outside"]),
        "caught_outside": round(share(whole["outside"]), 5),
    }


def table(counts: dict[str, dict[str, list[bool]]]) -> str:
    """All counts as Markdown."""
    lines = ["| | group | prompts | counted |", "|---|---|---|---|"]
    for part, groups in counts.items():
        everything = [one for group in groups.values() for one in group]
        lines.append(f"| **{LABELS[part]}** | all | {len(everything)} | {sum(everything)} |")
        lines += [f"| | {name} | {len(group)} | {sum(group)} |" for name, group in groups.items()]
    return "\n".join(lines) + "\n"
