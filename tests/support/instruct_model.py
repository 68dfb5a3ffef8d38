"""A tiny text model of transformers with a chat template, as tuned models come: ChatML, or one with a BOS."""

from __future__ import annotations

from pathlib import Path

from lm.data.text_tokenizers import NUM_BYTES

CHATML = """\
{%- for message in messages -%}
{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] | trim + '<|im_end|>' + '\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}
"""
BEGUN = """\
{{- bos_token -}}
{%- for message in messages -%}
{{- '[' + message['role'] + '] ' + message['content'] + '<|eot|>' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '[assistant] ' -}}{%- endif -%}
"""
MARKS = ["<|im_start|>", "<|im_end|>", "<s>", "<|eot|>", "<|end|>"]


def save_instruct_model(folder: Path, texts: list[str], *, template: str = CHATML, eos: str = "<|im_end|>") -> None:
    """Write model and tokenizer; answers end at ``<|im_end|>`` or ``<|eot|>``, documents at ``eos``."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=NUM_BYTES + 60, initial_alphabet=alphabet, special_tokens=MARKS, show_progress=False
    )
    bpe.train_from_iterator([*texts, "user\nassistant\n"] * 4, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token=eos, bos_token="<s>")
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    torch.manual_seed(3)
    ends = [bpe.token_to_id(mark) for mark in ("<|im_end|>", "<|eot|>")]
    config = LlamaConfig(
        vocab_size=bpe.get_vocab_size(),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=48,
        max_position_embeddings=512,
        initializer_range=0.5,
        bos_token_id=bpe.token_to_id("<s>"),
        eos_token_id=ends,
        pad_token_id=None,
    )
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        model.lm_head.weight[ends] *= 3  # a model of random weights would hardly ever end
    model.save_pretrained(folder)
