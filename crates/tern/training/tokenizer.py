"""Byte-level BPE of 4096 entries and the chat format around it.

Pre-tokenisation is SmolLM's (single digits, then GPT-2's word pattern), so existing runtimes already know it.
A chat is `<|bos|>` then, per message, `<|role|>text<|end|>`; the generation prompt is `<|assistant|>`. Every marker is
one token and no white space stands between them, so text cannot forge a marker and rendering is unambiguous.
"""

import json
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

SPECIALS = ["<|bos|>", "<|eos|>", "<|pad|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>", "<|unused|>"]
BOS, EOS, PAD, SYSTEM, USER, ASSISTANT, END = range(7)
ROLE = {"system": SYSTEM, "user": USER, "assistant": ASSISTANT}

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>' + (message['content'] | trim) + '<|end|>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def train(texts, size: int = 4096) -> Tokenizer:
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
    ])
    tok.decoder = decoders.ByteLevel(add_prefix_space=True, trim_offsets=True, use_regex=True)
    tok.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=size, special_tokens=SPECIALS, show_progress=False, min_frequency=2,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    assert tok.get_vocab_size() == size and [tok.token_to_id(s) for s in SPECIALS] == list(range(len(SPECIALS)))
    return tok


def save(tok: Tokenizer, folder: Path, context: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    tok.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<|bos|>", "eos_token": "<|end|>", "pad_token": "<|pad|>",
        "add_bos_token": False, "clean_up_tokenization_spaces": False, "model_max_length": context,
        "chat_template": CHAT_TEMPLATE,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")


def encode_document(tok: Tokenizer, doc: dict) -> tuple[list[int], list[bool]]:
    """Tokens and, for each, whether predicting it counts in the loss (assistant text and its end; all plain text)."""
    if doc["kind"] == "plain":
        ids = tok.encode(doc["text"], add_special_tokens=False).ids
        return [BOS, *ids, EOS], [False] + [True] * (len(ids) + 1)
    tokens, counts = [BOS], [False]
    for role, text in doc["turns"]:
        ids = tok.encode(text.strip(), add_special_tokens=False).ids
        spoken = role == "assistant"
        tokens += [ROLE[role], *ids, END]
        counts += [False] + [spoken] * (len(ids) + 1)
    return tokens, counts
