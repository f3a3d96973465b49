"""The mixture: which documents, in what number, rendered how. Weights are chosen by tokens in the loss.

Invariant: a document's held-out key is the text the corpus author wrote (a question, a story), so every rendering of
it falls on the same side of the split.
"""

import random
import re
from pathlib import Path

import corpus
import facts
import persona
import stories
import dialogues
from phrasing import vary

SYSTEM = ["You are Tern, a small model that lives in your browser tab.",
          "You are Tern, a small model that lives in the user's browser tab. You are friendly and brief.",
          "You are a helpful assistant.", "You are Tern.", "You are a friendly storyteller."]
BOOK_SHARE = 0.08  # the books are hard for a model this small; it reads some of them for the language


class Chat:
    """Draws single exchanges (question, answer) of each kind."""

    def __init__(self, rng, chitchat, instr):
        self.rng, self.instr = rng, instr
        self.intents = {}
        for question, key in chitchat:
            self.intents.setdefault(key, []).append(question)
        self.keys = list(self.intents)

    def small_talk(self):
        """One exchange: a fixed intent of the persona, a chit-chat question, or a generated one."""
        rng, x = self.rng, self.rng.random()
        if x < 0.3:
            questions, answers = rng.choice(persona.ABOUT)
            return vary(rng, rng.choice(questions)), rng.choice(answers)
        if x < 0.55:
            key = rng.choice(self.keys)
            return vary(rng, rng.choice(self.intents[key])), rng.choice(persona.REPLIES[key])
        return dialogues.exchange(rng)

    def fact(self):
        rng = self.rng
        if rng.random() < 0.015:
            return rng.choice(self.instr)
        return facts.question(rng)

    def mixed(self):
        return self.small_talk() if self.rng.random() < 0.5 else self.fact()

    def memory(self):
        """Something told, then other talk or none, then the question about it; now and then it was never told."""
        rng = self.rng
        if rng.random() < 0.12:
            before = [p for p in (self.fact() for _ in range(rng.choice([0, 0, 1, 2])))]
            return [*before, dialogues.unknown_name(rng)]
        pairs = dialogues.memory(rng)
        between = [self.fact() if rng.random() < 0.7 else self.small_talk() for _ in range(rng.choice([0, 0, 0, 1, 1, 2]))]
        return [pairs[0], *between, *pairs[1:]]


def as_document(rng, part, pairs):
    turns = []
    if rng.random() < 0.25:
        turns.append(["system", rng.choice(SYSTEM)])
    for q, ans in pairs:
        turns += [["user", q], ["assistant", ans]]
    return {"part": part, "kind": "chat", "turns": turns}


def plain(text: str) -> str:
    return re.sub(r"[^a-z0-9+*/ -]", "", text.lower()).strip()


def build(folder: Path, rng: random.Random, scale: float, book_share: float, held_out, kept_out=()):
    """(training documents, held-out documents); no user turn of the training documents equals a text in `kept_out`."""
    train, held = [], []
    for doc in corpus.books(folder / "books.txt"):
        if held_out(doc["text"]):
            held.append(doc)
        elif rng.random() < book_share:
            train.append(doc)
    for doc in corpus.stories(folder / "tinystories_sample.txt"):
        if held_out(doc["text"]):
            held.append(doc)
        else:
            train.append(doc)
    lines = folder / "dialogs.jsonl"
    chitchat = []
    for doc in corpus.dialogues(lines, "chitchat-friendly"):
        question, key = doc["turns"][0][1], doc["turns"][1][1]
        if held_out(question):
            doc["turns"][1][1] = persona.REPLIES[raw_key(key)][0]
            held.append(doc)
        else:
            chitchat.append((question, raw_key(key)))
    instr = [(d["turns"][0][1], d["turns"][1][1]) for d in corpus.dialogues(lines, "rasbt-instr")
             if not held_out(d["turns"][0][1])]
    chat = Chat(rng, chitchat, instr)
    # Every chit-chat question once on its own, so that none is missed by the draw.
    for q, key in chitchat:
        train.append(as_document(rng, "chitchat", [(q, rng.choice(persona.REPLIES[key]))]))
    for q, ans in instr:
        train.append(as_document(rng, "instr", [(q, ans)]))
    one = lambda weights: rng.choices(range(1, len(weights) + 1), weights)[0]
    kinds = {
        "tale": (4500, lambda: [stories.request(rng)]),
        "continuation": (3500, lambda: [stories.continuation(rng)]),
        "small-talk": (30000, lambda: [chat.small_talk() for _ in range(one([6, 2, 1]))]),
        "fact": (60000, lambda: [chat.fact() for _ in range(one([6, 2, 1, 1]))]),
        "follow-up": (3000, lambda: facts.follow_up(rng)),
        "mixed": (6000, lambda: [chat.mixed() for _ in range(rng.randint(2, 7))]),
        "memory": (14000, chat.memory),
        "long-mixed": (800, lambda: [*(chat.mixed() for _ in range(rng.randint(0, 3))), stories.request(rng), *(chat.mixed() for _ in range(rng.randint(0, 2)))]),
    }
    for part, (count, draw) in kinds.items():
        train += [as_document(rng, part, draw()) for _ in range(int(count * scale))]
    barred, seen, unique = {plain(t) for t in kept_out}, set(), []
    for doc in train:
        key = str(doc.get("turns") or doc["text"]).lower()
        said = [plain(t) for r, t in doc.get("turns", []) if r == "user"]
        if key not in seen and not any(s in barred for s in said):
            seen.add(key)
            unique.append(doc)
    train = unique
    fresh = random.Random(987654)
    for _ in range(200):
        held.append({"part": "fact", "kind": "chat", "turns": [[r, t] for r, t in zip(("user", "assistant"), facts.question(fresh))]})
    return train, held


def raw_key(answer: str) -> str:
    """corpus.clean() rewrites typographic characters; the persona table is keyed by the text as published."""
    return _CLEAN_KEYS[answer]


_CLEAN_KEYS = {corpus.clean(k): k for k in persona.REPLIES}
