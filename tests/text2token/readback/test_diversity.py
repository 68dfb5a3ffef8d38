import numpy as np

from text2token.readback.diversity import SpeakerClassifier, repeated_share, used_codes


def test_speakers_are_classified_by_their_codes() -> None:
    random = np.random.default_rng(0)
    habits = random.dirichlet(np.full(32, 0.3), size=4)
    draw = [[random.choice(32, 30, p=habit).astype(np.uint16) for _ in range(40)] for habit in habits]
    rows = [(f"speaker-{number}", codes) for number, own in enumerate(draw) for codes in own]
    classifier = SpeakerClassifier(rows[::2], 32)
    assert classifier.speakers == [f"speaker-{number}" for number in range(4)]
    assert classifier.accuracy(rows[1::2]) > 0.95
    shuffled = [(f"speaker-{random.integers(4)}", codes) for _, codes in rows]
    assert classifier.accuracy(shuffled) < 0.45  # chance is a quarter
    assert classifier.classify(np.zeros(0, dtype=np.uint16)) == "speaker-0" and classifier.accuracy([]) == 0


def test_repetition_and_use() -> None:
    rising, round_and_round = np.arange(20, dtype=np.uint16), np.tile(np.arange(2, dtype=np.uint16), 10)
    assert repeated_share([rising]) == 0 and repeated_share([round_and_round]) == 1 - 2 / 18
    assert repeated_share([rising, round_and_round]) == (1 - 2 / 18) / 2 and repeated_share([]) == 0
    assert used_codes([rising, round_and_round]) == 20 and used_codes([]) == 0
