#!/usr/bin/env python3
"""Makes tokenizer.json and cases.json beside it: a small WordPiece vocabulary of ours, as Hugging Face's tokenizers
(0.23.3) reads it, with the ids of texts that are uncased (`ids`) and cased (`cased`)."""
import json
import os
import random

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

words = (
    "the a an of to in is un aff able walk run he hello world embed 2 20 é ß 中 国 日 本 語 $ + . , ! ? - ' ` # < > "
    "[ ] ( ) / @ x y z caf cafe naive strasse"
).split()
pieces = "##s ##ing ##ed ##aff ##able ##ding ##d ##0 ##2 ##6 ##x ##y ##z ##a ##b ##e ##n ##o ##ss ##本".split()
vocab = {}
for token in ["[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words, *pieces, *"bcdfghijklmnopqrstuvw"]:
    vocab.setdefault(token, len(vocab))


def make(lowercase):
    t = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]", max_input_chars_per_word=100))
    t.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    t.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    ends = [(token, vocab[token]) for token in ("[CLS]", "[SEP]")]
    t.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    t.decoder = decoders.WordPiece()
    t.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    return t


texts = [
    "", "hello world", "  Hello,\tWORLD!! ", "unaffable walking", "Unaffable, embedding 2026",
    "naïve café CAFÉ Straße STRASSE", "中国日本語 hello日本", "a\u200bb\u0000c\ufffd", "$20+2-`x`", "x" * 100,
    "x" * 101, "don't [walk] (run)", "日本", "e\u0301 é É", "\u00a0a\u3000b", "[MASK]ed",
]
rng = random.Random(158)
alphabet = "abxyz Z.,!?'`#$é\u0301ßÉ中本語語日k国 \t\n\u00a0\u200b<>[]20６٣🦙—ǅİ"
for _ in range(60):
    texts.append("".join(rng.choice(alphabet) for _ in range(rng.randint(1, 40))))
parts = words + [piece[2:] for piece in pieces]
for _ in range(40):
    word = lambda: "".join(rng.choice(parts) for _ in range(rng.randint(1, 3)))
    texts.append(" ".join(word() for _ in range(rng.randint(1, 6))))

here = os.path.dirname(os.path.abspath(__file__))
uncased, cased = make(True), make(False)
uncased.save(os.path.join(here, "tokenizer.json"), pretty=False)
ids = lambda t, text: t.encode(text, add_special_tokens=False).ids
cases = [{"text": text, "ids": ids(uncased, text), "cased": ids(cased, text)} for text in texts]
with open(os.path.join(here, "cases.json"), "w") as file:
    json.dump(cases, file, ensure_ascii=True, separators=(",", ":"))
