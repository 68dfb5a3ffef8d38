"""English requests with verifiable instructions, open requests with decomposed questions, and corrected requests.

Everything is worded so that it can be spoken: "three asterisks" for ``***``. Instructions of one closed request can be
followed at once.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from corpus.text.english_numbers import cardinal
from evaluation.rules.instructions.arguments import AT_LEAST, RELATIONS

TOPICS = (
    "the sea", "an old harbour", "a rainy morning", "the village market", "a mountain hut", "my bicycle", "the moon",
    "a lost umbrella", "the first snow", "a night train", "the school garden", "a lighthouse", "my neighbour's dog",
    "a birthday party", "the town library", "a wooden bridge", "a cup of tea", "the summer holidays",
)  # fmt: skip
FORMS = ("poem", "story", "letter", "speech", "song", "report")
TONES = ("cheerful", "serious", "sad", "polite", "excited")
READERS = ("a small child", "a teacher", "an old friend", "a tourist")
# Without the rare letters, so that these words do not work against a limit on them.
WORDS = (
    "river", "garden", "candle", "winter", "silver", "window", "bread", "music", "stone", "yellow", "forest", "letter",
    "butter", "summer", "friend", "morning", "water", "green", "bottle", "feather",
)  # fmt: skip
RARE_LETTERS, COMMON_LETTERS = "qzxj", "etaoinsr"
LANGUAGES = {"de": "German", "fr": "French", "es": "Spanish", "it": "Italian"}
END_PHRASE = "Is there anything else I can help with?"


class SpokenRequest(NamedTuple):
    """A request, and the columns of its task besides the prompt."""

    prompt: str
    columns: Mapping[str, Any]


class ArgumentDraws:
    """Seeded draws of one request's arguments; of its words none comes twice."""

    def __init__(self, rng: random.Random, task: str) -> None:
        self.rng, self.task = rng, task
        self._words = rng.sample(WORDS, len(WORDS))

    def words(self, count: int) -> list[str]:
        """Words that no other instruction of the request has."""
        return [self._words.pop() for _ in range(count)]

    def number(self, low: int, high: int) -> int:
        """A whole number, both ends included."""
        return self.rng.randint(low, high)

    def relation(self) -> str:
        """ "less than" or "at least"."""
        return self.rng.choice(RELATIONS)


Wording = tuple[str, dict[str, Any]]


def keyword_existence(draws: ArgumentDraws) -> Wording:
    """Two keywords."""
    first, second = draws.words(2)
    return f"Include the words {first} and {second}.", {"keywords": [first, second]}


def keyword_frequency(draws: ArgumentDraws) -> Wording:
    """A keyword's number."""
    (word,), relation, count = draws.words(1), draws.relation(), draws.number(2, 4)
    values = {"keyword": word, "frequency": count, "relation": relation}
    return f"Use the word {word} {relation} {spoken(count)} times.", values


def forbidden_words(draws: ArgumentDraws) -> Wording:
    """Two words to avoid."""
    first, second = draws.words(2)
    return f"Do not use the words {first} or {second}.", {"forbidden_words": [first, second]}


def letter_frequency(draws: ArgumentDraws) -> Wording:
    """A letter's number."""
    relation, count = draws.relation(), draws.number(3, 8)
    letter = draws.rng.choice(COMMON_LETTERS if relation == AT_LEAST else RARE_LETTERS)
    values = {"letter": letter, "let_frequency": count, "let_relation": relation}
    return f"The letter {letter} should appear {relation} {spoken(count)} times.", values


def response_language(draws: ArgumentDraws) -> Wording:
    """A language other than English."""
    code = draws.rng.choice(sorted(LANGUAGES))
    return f"Answer in {LANGUAGES[code]} only.", {"language": code}


def number_sentences(draws: ArgumentDraws) -> Wording:
    """A number of sentences."""
    relation, count = draws.relation(), draws.number(3, 6)
    return f"Use {relation} {spoken(count)} sentences.", {"num_sentences": count, "relation": relation}


def number_words(draws: ArgumentDraws) -> Wording:
    """A number of words."""
    relation, count = draws.relation(), 10 * draws.number(3, 8)
    return f"Use {relation} {spoken(count)} words.", {"num_words": count, "relation": relation}


def number_paragraphs(draws: ArgumentDraws) -> Wording:
    """A number of paragraphs."""
    count = draws.number(2, 4)
    return f"Write {spoken(count)} paragraphs, separated by three asterisks.", {"num_paragraphs": count}


def nth_paragraph_first_word(draws: ArgumentDraws) -> Wording:
    """A number of paragraphs, and the first word of one."""
    count, (word,) = draws.number(2, 4), draws.words(1)
    nth = draws.number(1, count)
    asked = f"Write {spoken(count)} paragraphs, separated by a blank line. Paragraph {spoken(nth)} must start with"
    return f"{asked} the word {word}.", {"num_paragraphs": count, "nth_paragraph": nth, "first_word": word}


def number_placeholders(draws: ArgumentDraws) -> Wording:
    """A number of placeholders."""
    count = draws.number(2, 3)
    wording = f"Leave at least {spoken(count)} placeholders in square brackets, such as address in square brackets."
    return wording, {"num_placeholders": count}


def number_bullets(draws: ArgumentDraws) -> Wording:
    """A number of bullet points."""
    count = draws.number(2, 5)
    wording = f"Answer with exactly {spoken(count)} bullet points, each on a line that starts with an asterisk."
    return wording, {"num_bullets": count}


def highlighted_sections(draws: ArgumentDraws) -> Wording:
    """A number of highlighted parts."""
    count = draws.number(2, 3)
    return f"Highlight at least {spoken(count)} parts with asterisks around them.", {"num_highlights": count}


def multiple_sections(draws: ArgumentDraws) -> Wording:
    """A number of sections."""
    count = draws.number(2, 4)
    wording = f"The answer must have {spoken(count)} sections. Start each with the word Section and its number."
    return wording, {"section_spliter": "Section", "num_sections": count}


def capital_words(draws: ArgumentDraws) -> Wording:
    """A number of words in capitals."""
    relation, count = draws.relation(), draws.number(2, 5)
    values = {"capital_frequency": count, "capital_relation": relation}
    return f"Use {relation} {spoken(count)} words in all capital letters.", values


def repeated_request(draws: ArgumentDraws) -> Wording:
    """The request itself, in front of the answer."""
    return "First repeat this request word for word, then answer it.", {"prompt_to_repeat": draws.task}


def fixed(wording: str, **values: Any) -> Callable[[ArgumentDraws], Wording]:
    """An instruction without draws."""
    return lambda draws: (wording, dict(values))


INSTRUCTIONS: Mapping[str, Callable[[ArgumentDraws], Wording]] = {
    "keywords:existence": keyword_existence,
    "keywords:frequency": keyword_frequency,
    "keywords:forbidden_words": forbidden_words,
    "keywords:letter_frequency": letter_frequency,
    "language:response_language": response_language,
    "length_constraints:number_sentences": number_sentences,
    "length_constraints:number_paragraphs": number_paragraphs,
    "length_constraints:number_words": number_words,
    "length_constraints:nth_paragraph_first_word": nth_paragraph_first_word,
    "detectable_content:number_placeholders": number_placeholders,
    "detectable_content:postscript": fixed(
        "At the end, add a postscript that starts with P.S.", postscript_marker="P.S."
    ),
    "detectable_format:number_bullet_lists": number_bullets,
    "detectable_format:constrained_response": fixed(
        "Answer with one of these sentences. My answer is yes. My answer is no. My answer is maybe."
    ),
    "detectable_format:number_highlighted_sections": highlighted_sections,
    "detectable_format:multiple_sections": multiple_sections,
    "detectable_format:json_format": fixed("Write the whole answer in JSON format."),
    "detectable_format:title": fixed("The answer must have a title, in double angular brackets."),
    "combination:two_responses": fixed("Give two different answers, separated by six asterisks."),
    "combination:repeat_prompt": repeated_request,
    "startend:end_checker": fixed(
        f"Finish with exactly this phrase, and nothing after it. {END_PHRASE}", end_phrase=END_PHRASE
    ),
    "startend:quotation": fixed("Put the whole answer in double quotation marks."),
    "change_case:capital_word_frequency": capital_words,
    "change_case:english_capital": fixed("Answer in English, and in capital letters only."),
    "change_case:english_lowercase": fixed(
        "Answer in English, and in small letters only. No capital letters are allowed."
    ),
    "punctuation:no_comma": fixed("Do not use any commas."),
}
# Of what these ask for, nothing else can be asked as well.
ALONE = (
    "language:response_language",
    "detectable_format:constrained_response",
    "detectable_format:json_format",
    "combination:two_responses",
    "combination:repeat_prompt",
)
SECONDS = (
    "keywords:existence",
    "keywords:frequency",
    "keywords:forbidden_words",
    "keywords:letter_frequency",
    "detectable_content:number_placeholders",
)


def spoken(number: int) -> str:
    """A number in words."""
    return cardinal(str(number))


def closed_requests(count: int, seed: int) -> list[SpokenRequest]:
    """Closed requests, no prompt twice: the checkers in turn, in a new order each round, half with a second one."""
    rng, found, ids = random.Random(f"closed instructions {seed}"), dict[str, SpokenRequest](), list[str]()
    while len(found) < count:
        ids = ids or rng.sample(sorted(INSTRUCTIONS), len(INSTRUCTIONS))
        request = closed_request(ids[-1], rng)
        if request.prompt not in found:
            found[request.prompt] = request
            ids.pop()
    return list(found.values())


def closed_request(id_: str, rng: random.Random) -> SpokenRequest:
    """A task with one instruction or two."""
    is_question = id_ == "detectable_format:constrained_response"
    wanted = f"{rng.choice(FORMS)} about {rng.choice(TOPICS)}"
    task = f"Would you write a {wanted}?" if is_question else f"Write a {wanted}."
    ids = [id_]
    if id_ not in ALONE and rng.random() < 0.5:
        ids.append(rng.choice([one for one in SECONDS if one != id_]))
    draws = ArgumentDraws(rng, task)
    wordings = [INSTRUCTIONS[one](draws) for one in ids]
    prompt = " ".join([task, *(wording for wording, _ in wordings)])
    return SpokenRequest(prompt, {"instruction_id_list": ids, "kwargs": [values for _, values in wordings]})


def open_requests(count: int, seed: int) -> list[SpokenRequest]:
    """Open requests of a form, a topic, a tone and a reader, each with a question of its own; no prompt twice."""
    requests = []
    for form, topic, tone, reader in drawn_combinations(count, seed, FORMS, TOPICS, TONES, READERS):
        prompt = f"Write a short {form} about {topic} for {reader}, in a {tone} tone, and end with a question."
        asked = [f"Is the answer a {form}?", f"Is the answer about {topic}?", f"Is the answer fit for {reader}?"]
        asked += [f"Is the tone of the answer {tone}?", "Does the answer end with a question?"]
        requests.append(SpokenRequest(prompt, {"decomposed_questions": asked}))
    return requests


def adjusted_requests(count: int, seed: int) -> list[SpokenRequest]:
    """Requests whose form and topic the talker corrects; no prompt twice."""
    requests = []
    for form, topic in drawn_combinations(count, seed, FORMS, TOPICS):
        rng = random.Random(f"correction {seed} {form} {topic}")
        other = rng.choice([one for one in FORMS if one != form])
        place = rng.choice([one for one in TOPICS if one != topic])
        prompt = f"Write a {form} about {topic}. No, wait, make that a {other} about {place} instead."
        requests.append(SpokenRequest(prompt, {}))
    return requests


def drawn_combinations(count: int, seed: int, *choices: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Different combinations of one of each, in the order drawn; at least ``count`` there must be."""
    assert count <= math.prod(map(len, choices)), "bounded by the options"
    rng, found = random.Random(f"requests {len(choices)} {seed}"), dict[tuple[str, ...], None]()
    while len(found) < count:
        found[tuple(rng.choice(one) for one in choices)] = None
    return list(found)
