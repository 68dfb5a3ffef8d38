"""`speechweave doctor`: its proofs hold here, a check that goes wrong is a row, and the exit status says so.

``python -m pytest -m gpu`` runs every proof on a machine with a CUDA device.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from lm.proofs.finding import ABSENT, FAILED, PROVEN, THERE, Finding
from recipes import doctor
from recipes.installation.proofs import PROOFS, SAME_ON_GPU, Proof, difference
from recipes.installation.workbench import ProofFailedError, Workbench
from recipes.launch import PRELOAD_VARIABLE
from tests.support.commands import Commands

ON_A_CPU = {
    "versions": THERE,
    "processor": THERE,
    "options for speed": THERE,
    "collectives": PROVEN,
    "rotary positions": PROVEN,
    "packed against masked attention": PROVEN,
    "layouts": PROVEN,
    "save and resume": PROVEN,
    "bf16 training": PROVEN,
    "throughput": PROVEN,
}  # the others are about parts of a machine with a GPU
WRONG = "tests.support.proofs_gone_wrong"


@pytest.fixture(scope="module")
def bench(commands: Commands, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workbench]:
    """A workbench whose processes see no GPU; they are forks of the test worker's parent of commands."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CUDA_VISIBLE_DEVICES", "")
        yield Workbench(tmp_path_factory.mktemp("bench"), commands.server, seconds=3000)


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command's own workbench starts fresh interpreters: its light checks import less than a parent of forks."""
    monkeypatch.setenv(PRELOAD_VARIABLE, "0")


@pytest.fixture(scope="module")
def gpu_bench() -> Iterator[Workbench]:
    with Workbench.opened(seconds=3000) as bench:
        if not bench.gpus:
            pytest.skip("no CUDA device")
        yield bench


@pytest.mark.parametrize("proof", PROOFS, ids=lambda proof: proof.name)
def test_a_cpu_proves_its_part(proof: Proof, bench: Workbench) -> None:
    finding = proof.find(bench)
    expected = ON_A_CPU.get(proof.name, ABSENT)
    if proof.name in ("Transformer Engine", "Apex") and finding.status == THERE:
        expected = THERE  # installed where a GPU is
    assert finding.status == expected, finding.detail


@pytest.mark.gpu
@pytest.mark.parametrize("proof", PROOFS, ids=lambda proof: proof.name)
def test_a_gpu_proves_its_part(proof: Proof, gpu_bench: Workbench) -> None:
    finding = proof.find(gpu_bench)
    if finding.status == ABSENT:
        pytest.skip(finding.detail)
    assert finding.status in (PROVEN, THERE), finding.detail


@pytest.mark.parametrize("name", ["packed_as_one_document", "turned_by_halves_always"])
def test_broken_layers_are_found(name: str, bench: Workbench) -> None:
    assert bench.check(f"tests.support.broken_layers:{name}").status == FAILED


def test_another_training_is_not_the_same(bench: Workbench) -> None:
    losses = [bench.train(f"seed {seed}", f"seed={seed}", steps=3) for seed in (1, 2)]
    assert difference(losses[1], losses[0]) > SAME_ON_GPU
    assert difference(losses[0][:1], losses[0]) == float("inf")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("crash", "crashed by SIGSEGV"),
        ("hang", "no end within 4 s; its last words: "),
        ("fail", "ended with status 1: RuntimeError: a library of another version"),
        ("absent", "ended with status 1: AttributeError"),
    ],
)
def test_a_check_that_goes_wrong_says_how(
    name: str, words: str, bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "hang":
        monkeypatch.setattr(bench, "seconds", 4)
    with pytest.raises(ProofFailedError, match=words):
        bench.check(f"{WRONG}:{name}")


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize(("wrong", "status"), [([], 0), (["crash"], 1)])
def test_the_exit_status_counts_failures_only(
    wrong: list[str], status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = [Finding(status=status, detail=f"of {status}", facts={"gpus": 0}) for status in (THERE, ABSENT, PROVEN)]
    proofs = [Proof(name=part.status, prove=lambda bench, part=part: part) for part in parts]
    proofs += [Proof(name=name, prove=lambda bench, name=name: bench.check(f"{WRONG}:{name}")) for name in wrong]
    monkeypatch.setattr(doctor, "PROOFS", proofs)
    assert doctor.main(["--json", "--seconds", "3000"]) == status
    rows = {row["name"]: row["finding"]["status"] for row in json.loads(capsys.readouterr().out)}
    assert rows == {THERE: THERE, ABSENT: ABSENT, PROVEN: PROVEN} | dict.fromkeys(wrong, FAILED)
    assert doctor.main(["--seconds", "3000"]) == status
    assert all(f" {name} " in capsys.readouterr().out for name in wrong or [THERE])


@pytest.mark.usefixtures("fresh")
def test_only_the_rows_that_are_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor.main(["--only", "versions", "--json", "--seconds", "3000"]) == 0
    assert [row["name"] for row in json.loads(capsys.readouterr().out)] == ["versions"]
    assert doctor.main(["--only", "nothing"]) == 2
