"""The options of the training loop: batches, learning rate, precision, validation and checkpoints."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.config import Options, option
from runtime.errors import check_option

SCHEDULES = ("linear", "cosine", "wsd", "constant")
DECAY_SHAPES = ("linear", "cosine", "sqrt")  # of wsd

# Options that may change between a checkpoint and its continuation (`runtime.stage.Resumable`): layouts give the same
# result (to rounding), records and workers have no part in it; steps, rates and schedules are taken up from there on.
NEUTRAL = (
    "parallel",
    "speech.max_unreadable_share",
    *(
        f"train.{name}"
        for name in (
            *("micro_batch", "recompute", "log_every", "validate_every", "validation_samples", "checkpoint_every"),
            *(
                "keep",
                "keep_every",
                "async_save",
                "data_workers",
                "threads",
                "peak_tflops",
                "max_skipped_steps",
                "stall_seconds",
                "loss_slices",
                "gradient_fusion",
            ),
        )
    ),
)
ADJUSTABLE = tuple(
    f"train.{name}"
    for name in (
        *("steps", "learning_rate", "final_learning_rate", "warmup_steps", "schedule", "decay_steps", "decay_shape"),
        *("clip_norm", "z_loss"),
    )
)


@dataclass(kw_only=True)
class LoopConfig(Options):
    """Steps, batches, learning rate, precision, validation and checkpoints.

    Attributes:
        steps: optimizer steps of the whole run.
        sequence_length: tokens of a packed sequence.
        micro_batch: sequences a model copy computes at once.
        global_batch: sequences of one step, over all model copies and accumulated micro batches.
        learning_rate: peak, reached after the warm-up.
        final_learning_rate: at the last step.
        warmup_steps: steps of linear warm-up from 0.
        schedule: ``linear`` (the paper), ``cosine``, ``wsd`` (warm-up, stable, decay) or ``constant``.
        decay_steps: steps of wsd's decay, the last of the run; 0: a tenth of the steps.
        decay_shape: of wsd's decay: ``linear``, ``cosine`` or ``sqrt`` (1 - sqrt of the progress).
        weight_decay: AdamW's, on matrices only (not on biases, norms or other vectors).
        beta1: AdamW's first-moment decay.
        beta2: AdamW's second-moment decay.
        clip_norm: gradient norm above which gradients are scaled down; 0 never.
        z_loss: coefficient of the mean squared log normaliser, added to the loss (PaLM: 1e-4); 0: off.
        precision: ``fp32``; ``bf16`` (weights and activations; gradients, master weights and optimizer stay fp32);
            ``auto``: bf16 where the hardware is fast at it (on a CPU: AVX512-BF16 or AMX), else fp32.
        layers: ``transformer_engine``, ``local``, or ``auto``: Transformer Engine's where it imports.
        fp8: ``none``, ``e4m3`` or ``hybrid`` (e5m2 for gradients); needs Transformer Engine.
        fp8_recipe: Transformer Engine's scaling: ``delayed``, ``tensorwise``, ``blockwise`` or ``mxfp8``.
        recompute: recompute activations in the backward pass: ``none``, ``selective`` (attention) or ``full``.
        loss_slices: of the vocabulary: scores are made and used slice by slice, which takes less memory (16 slices of
            168,960 ids and 8,192 tokens: 0.7 GB instead of 8.3) and a third more of the output layer's time.
        gradient_fusion: add weight gradients to the fp32 sum inside of the product that makes them (Apex's kernel; on a
            CPU in fp32 torch's product): ``auto`` (where it works), ``always`` or ``never``.
        packing: ``stream`` lays documents end to end and cuts them into sequences; ``best_fit`` fills each sequence
            with whole documents and pads the rest (short samples: ASR, TTS, dialogues).
        reset_attention: no attention across the documents packed into one sequence.
        max_skipped_steps: steps with a loss or gradient that is not finite are skipped, this many at most.
        log_every: steps between rows of the training curve.
        validate_every: steps between validations; 0 validates at the end only.
        validation_samples: sequences of each validation corpus; 0 takes all.
        checkpoint_every: steps between checkpoints; 0 saves at the end only.
        keep: the newest checkpoints that are kept.
        keep_every: checkpoints at multiples of this many steps are kept besides; 0: none.
        async_save: write checkpoints in the background while training goes on.
        data_workers: processes that read batches ahead; 0 reads in the training process.
        threads: CPU threads of a process.
        peak_tflops: an accelerator's peak, for the model FLOPs utilisation; 0 looks it up by the device's name.
        stall_seconds: a step that takes longer is named on stderr, with its documents and where the program is; 0: off.
    """

    steps: int = option(1000, at_least=1)
    sequence_length: int = option(256, at_least=1)
    micro_batch: int = option(8, at_least=1)
    global_batch: int = option(16, at_least=1)
    learning_rate: float = option(2e-3, above=0)
    final_learning_rate: float = option(2e-4, at_least=0)
    warmup_steps: int = option(50, at_least=0)
    schedule: str = option("linear", one_of=SCHEDULES)
    decay_steps: int = option(0, at_least=0)
    decay_shape: str = option("linear", one_of=DECAY_SHAPES)
    weight_decay: float = option(0.1, at_least=0)
    beta1: float = option(0.9, at_least=0, below=1)
    beta2: float = option(0.95, at_least=0, below=1)
    clip_norm: float = option(1.0, at_least=0)
    z_loss: float = option(0.0, at_least=0)
    precision: str = option("auto", one_of=("auto", "fp32", "bf16"))
    layers: str = option("auto", one_of=("auto", "local", "transformer_engine"))
    fp8: str = option("none", one_of=("none", "e4m3", "hybrid"))
    fp8_recipe: str = option("delayed", one_of=("delayed", "tensorwise", "blockwise", "mxfp8"))
    recompute: str = option("none", one_of=("none", "selective", "full"))
    packing: str = option("stream", one_of=("stream", "best_fit"))
    reset_attention: bool = True
    max_skipped_steps: int = option(10, at_least=0)
    log_every: int = option(10, at_least=1)
    validate_every: int = option(200, at_least=0)
    validation_samples: int = option(64, at_least=0)
    checkpoint_every: int = option(200, at_least=0)
    keep: int = option(2, at_least=1)
    keep_every: int = option(0, at_least=0)
    async_save: bool = False
    data_workers: int = option(0, at_least=0)
    threads: int = option(1, at_least=1)
    peak_tflops: float = option(0.0, at_least=0)
    stall_seconds: float = option(900.0, at_least=0, is_later=True)
    loss_slices: int = option(1, at_least=1, is_later=True)
    gradient_fusion: str = option("auto", one_of=("auto", "always", "never"), is_later=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        falls = f"give a number between 0 and train.learning_rate = {self.learning_rate}"
        is_lower = self.final_learning_rate <= self.learning_rate
        check_option(is_lower, "train.final_learning_rate", self.final_learning_rate, falls)
        before_end = f"give fewer than train.steps = {self.steps}"
        check_option(self.warmup_steps < self.steps, "train.warmup_steps", self.warmup_steps, before_end)
        if self.schedule == "wsd":
            room = f"give at most train.steps - train.warmup_steps = {self.steps} - {self.warmup_steps}"
            fits = self.num_decay_steps + self.warmup_steps <= self.steps
            check_option(fits, "train.decay_steps", self.num_decay_steps, room)
        only_engine = "fp8 needs other layers: set train.layers to transformer_engine, or train.fp8 to none"
        check_option(self.fp8 == "none" or self.layers != "local", "train.fp8", self.fp8, only_engine)

    @property
    def num_decay_steps(self) -> int:
        """Steps of wsd's decay."""
        return self.decay_steps or max(1, self.steps // 10)

    @property
    def tokens_per_step(self) -> int:
        """Tokens of one optimizer step."""
        return self.global_batch * self.sequence_length
