import pytest

from imitation.benchmark.task_metrics import TASK_METRICS
from imitation.tasks.task_file import METRICS, Metric


@pytest.mark.parametrize(
    ("metric", "reference", "answer", "score"),
    [
        ("accuracy", "tom", "Tom.", 1),
        ("accuracy", "tom lucy", "tom, lucy", 1),
        ("accuracy", "tom lucy", "lucy tom", 0),
        ("accuracy", "none", "", 0),
        ("accuracy", "positive", "It is positive", 0),
        ("accuracy", "你好", "你 好。", 1),
        ("wer", "tom has two cups", "tom has two cups", 1),
        ("wer", "tom has two cups", "tom had two cups", 0.75),
        ("wer", "tom has two cups", "", 0),
        ("wer", "tom", "a b c d", 0),
        ("wer", "今天很冷", "今天很热", 0.75),
        ("rouge_l", "the cat sat", "the cat sat", 1),
        ("rouge_l", "the cat sat", "the dog sat", 2 / 3),
        ("rouge_l", "the cat sat", "sat cat the", 1 / 3),
        ("rouge_l", "the cat sat down", "the cat", 2 / 3),
        ("rouge_l", "a b", "c", 0),
        ("rouge_l", "", "", 1),
        ("rouge_l", "今天很冷", "今天冷", 6 / 7),
        ("chrf", "das ist gut", "das ist gut", 1),
        ("chrf", "abc", "xyz", 0),
    ],
)
def test_scores(metric: Metric, reference: str, answer: str, score: float) -> None:
    assert TASK_METRICS[metric](reference, answer) == pytest.approx(score)


def test_chrf_of_a_near_answer_is_sacrebleu_s() -> None:
    from sacrebleu import sentence_chrf

    texts = "das haus ist gross", "das Haus war gross"
    assert TASK_METRICS["chrf"](*texts) == pytest.approx(sentence_chrf(texts[1], [texts[0]]).score / 100)
    assert 0 < TASK_METRICS["chrf"](*texts) < 1


def test_every_metric_of_the_task_file_has_a_score() -> None:
    assert {*TASK_METRICS, "judge"} == set(METRICS)
