"""The mixture: which documents, in what number, rendered how. Weights are chosen by tokens in the loss.

Invariant: a document's held-out key is the text the corpus author wrote (a question, a story), so every rendering of
it falls on the same side of the split.
"""

import random
import re
from collections import Counter
from pathlib import Path

import corpus
import facts
import persona
import tales

SYSTEM = ["You are Tern, a small model that lives in your browser tab.",
          "You are Tern, a small model that lives in the user's browser tab. You are friendly and brief.",
          "You are a helpful assistant.", "You are Tern.", "You are a friendly storyteller."]
BOOK_SHARE = 0.4  # the books are hard for a model this small; all of them would be a third of what it reads
HERO_WORDS = set((" ".join(tales.HEROES) + " " + " ".join(tales.PEOPLE) + " car train boat ball tree flower doll kite cow chicken spider lizard truck plane mole bug worm crab whale shark zebra giraffe tiger seed leaf star moon cloud kitten puppy pony bunny").split())


def roughen(rng, text: str) -> str:
    """How people type: sometimes no capitals, no full stop, or an exclamation mark."""
    x = rng.random()
    if x < 0.12:
        return text.lower()
    if x < 0.2:
        return text.rstrip(".!?")
    if x < 0.26:
        return text.lower().rstrip(".!?")
    return text


def hero_of(story: str):
    words = Counter(w for w in re.findall(r"[a-z]+", story.lower()) if w in HERO_WORDS)
    return words.most_common(1)[0][0] if words and words.most_common(1)[0][1] >= 2 else None


def story_chat(rng, story: str):
    """A corpus story as the reply to a request for it, or continued from its first sentences."""
    hero = hero_of(story)
    if rng.random() < 0.4:
        sentences = re.split(r"(?<=[.!?]) ", story)
        k = rng.choice([1, 1, 2, 3])
        if len(sentences) > k + 3:
            ask = rng.choice(["Continue this story: {s}", "Continue the story: {s}", "Please continue: {s}", "How does this story go on? {s}", "Finish this story: {s}", "{s}"])
            return ask.format(s=" ".join(sentences[:k]).replace("\n", " ")), " ".join(sentences[k:])
    if hero:
        return rng.choice(["Tell me a story about {x}.", "tell me a story about {x}", "Can you tell me a story about {x}?", "Write a story about {x}.", "I want a story about {x}"]).format(x=tales.a(hero)), story
    return rng.choice(["Tell me a story.", "Can you tell me a story?", "I want to hear a story.", "tell me a story please"]), story


class Chat:
    """Draws single exchanges (question, answer) of each kind."""

    def __init__(self, rng, chitchat, instr):
        self.rng, self.instr = rng, instr
        self.intents = {}
        for question, key in chitchat:
            self.intents.setdefault(key, []).append(question)
        self.keys = list(self.intents)

    def small_talk(self):
        rng = self.rng
        if rng.random() < 0.45:
            questions, answers = rng.choice(persona.ABOUT)
            return roughen(rng, rng.choice(questions)), rng.choice(answers)
        key = rng.choice(self.keys)
        return roughen(rng, rng.choice(self.intents[key])), rng.choice(persona.REPLIES[key])

    def fact(self):
        rng = self.rng
        if rng.random() < 0.1:
            q, ans = rng.choice(self.instr)
            return q, ans
        q, ans = facts.question(rng)
        return roughen(rng, q), ans

    def mixed(self):
        return self.small_talk() if self.rng.random() < 0.55 else self.fact()


def name_chat(rng):
    """The one thing a small model can keep in mind: what it was just told."""
    name = rng.choice(tales.NAMES + "Alex Julia Peter Maria David Sarah Paul Laura Mark Eva John Kate Omar Aisha Ravi Mei Carlos Sofia".split())
    kind = rng.randrange(4)
    if kind == 0:
        said, reply = rng.choice(["My name is {n}.", "I am {n}", "Hi, I'm {n}!", "Hello, my name is {n}", "I'm called {n}.", "call me {n}", "my name is {n}"]), rng.choice(["Nice to meet you, {n}! I am Tern.", "Hello, {n}! How are you?", "Hi {n}! It is nice to meet you."])
        ask, answer = rng.choice(["What is my name?", "Do you remember my name?", "Who am I?", "what's my name"]), rng.choice(["Your name is {n}.", "You are {n}!", "Your name is {n}, you told me so."])
        v = {"n": name}
    elif kind == 1:
        v = {"n": rng.choice([c for _, c in facts.rows(facts.COLORS)])}
        said, reply = rng.choice(["My favorite color is {n}.", "I like the color {n}", "I love {n}, it is my favorite color."]), rng.choice(["{N} is a beautiful color!", "I like {n}, too."])
        ask, answer = rng.choice(["What is my favorite color?", "Which color do I like?"]), "Your favorite color is {n}."
    elif kind == 2:
        v = {"n": rng.choice(tales.HEROES)}
        said, reply = rng.choice(["I have a {n}.", "My pet is a {n}", "I have got a {n} at home"]), rng.choice(["A {n} is a nice pet! What is its name?", "How nice! I like every {n}."])
        ask, answer = rng.choice(["What pet do I have?", "Which animal do I have?", "Do you remember my pet?"]), "You have a {n}."
    else:
        v = {"n": rng.choice([c.split()[0].replace("_", " ") for c in facts.CAPITALS.split(";")])}
        said, reply = rng.choice(["I live in {n}.", "I am from {n}", "I come from {n}."]), rng.choice(["{N} sounds like a nice place!", "I have never been to {n}, but it sounds nice."])
        ask, answer = rng.choice(["Where do I live?", "Where am I from?", "Do you know where I live?"]), rng.choice(["You live in {n}.", "You told me: {n}."])
    v["N"] = v["n"][0].upper() + v["n"][1:]
    fix = lambda s: re.sub(r"\b([Aa]) (?=[aeiou])", r"\1n ", s.format(**v))
    return [(fix(said), fix(reply)), (ask, fix(answer))]


def as_document(rng, part, pairs):
    turns = []
    if rng.random() < 0.25:
        turns.append(["system", rng.choice(SYSTEM)])
    for q, ans in pairs:
        turns += [["user", q], ["assistant", ans]]
    return {"part": part, "kind": "chat", "turns": turns}


def build(folder: Path, rng: random.Random, scale: float, book_share: float, held_out):
    """(training documents, held-out documents)."""
    train, held = [], []
    for doc in corpus.books(folder / "books.txt"):
        if held_out(doc["text"]):
            held.append(doc)
        elif rng.random() < book_share:
            train.append(doc)
    told = []
    for doc in corpus.stories(folder / "tinystories_sample.txt"):
        if held_out(doc["text"]):
            held.append(doc)
        else:
            train.append(doc)
            told.append(doc["text"])
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
    for story in told:
        for _ in range(2):
            q, ans = story_chat(rng, story)
            train.append(as_document(rng, "story-chat", [(q, ans)]))
    n = lambda count: int(count * scale)
    for _ in range(n(3500)):
        train.append(as_document(rng, "tale", [tales.request(rng)]))
    for _ in range(n(14000)):
        train.append(as_document(rng, "small-talk", [chat.small_talk() for _ in range(rng.randint(1, 3))]))
    for _ in range(n(14000)):
        train.append(as_document(rng, "fact", [chat.fact() for _ in range(rng.randint(1, 4))]))
    for _ in range(n(5000)):
        train.append(as_document(rng, "mixed", [chat.mixed() for _ in range(rng.randint(2, 7))]))
    for _ in range(n(2500)):
        pairs = name_chat(rng)
        between = [chat.mixed() for _ in range(rng.choice([0, 0, 1, 2]))]
        train.append(as_document(rng, "memory", [pairs[0], *between, pairs[1]]))
    for _ in range(n(1200)):
        before, after = [chat.mixed() for _ in range(rng.randint(0, 3))], [chat.mixed() for _ in range(rng.randint(0, 2))]
        middle = tales.request(rng) if rng.random() < 0.5 else story_chat(rng, rng.choice(told))
        train.append(as_document(rng, "long-mixed", [*before, middle, *after]))
    fresh = random.Random(987654)
    for _ in range(200):
        held.append({"part": "fact", "kind": "chat", "turns": [[r, t] for r, t in zip(("user", "assistant"), facts.question(fresh))]})
    return train, held


def raw_key(answer: str) -> str:
    """corpus.clean() rewrites typographic characters; the persona table is keyed by the text as published."""
    return _CLEAN_KEYS[answer]


_CLEAN_KEYS = {corpus.clean(k): k for k in persona.REPLIES}
