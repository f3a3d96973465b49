"""Reads the raw training text (not part of the repository) into clean documents.

A document is `{"part", "kind", ...}`: kind "plain" carries `text`, kind "chat" carries `turns` ([role, text] pairs).
Invariant: only parts under MIT, Apache-2.0, CDLA-Sharing-1.0 (which leaves trained results free) or in the public
domain are read here; CC BY-SA parts are never opened for the shipped weights.
"""

import json
import re
from pathlib import Path

QUOTES = str.maketrans({"“": '"', "”": '"', "‘": "'", "’": "'", "…": "...", "—": " - ", "–": "-",
                        "\u2060": None, "\ufeff": None, "\xa0": " ", "\u200a": " ", "\u2009": " ", "⁠": None})


def clean(text: str) -> str:
    text = text.translate(QUOTES)
    text = re.sub(r"[ \t]+", " ", text)
    text = re.sub(r" ?\n ?", "\n", text)
    return text.strip()


def ascii_share(text: str) -> float:
    return sum(c.isascii() for c in text) / max(1, len(text))


def books(path: Path, chars: int = 1700) -> list[dict]:
    """Whole paragraphs grouped to about `chars` characters: each group is one document of at most ~500 tokens."""
    docs, group, size = [], [], 0
    for paragraph in clean(path.read_text(encoding="utf8")).split("\n\n"):
        paragraph = re.sub(r"\s+", " ", paragraph).strip()
        if len(paragraph) < 3 or re.fullmatch(r"[IVXLC]+", paragraph) or ascii_share(paragraph) < 0.97:
            continue
        if size + len(paragraph) > chars and group:
            docs.append({"part": "books", "kind": "plain", "text": "\n\n".join(group)})
            group, size = [], 0
        group.append(paragraph[:chars])
        size += len(paragraph)
    return docs


STORY_END = re.compile(r"[.!?\"']$")


def stories(path: Path) -> list[dict]:
    """TinyStories: stories are separated by single line breaks, paragraphs inside one by blank lines."""
    seen, docs = set(), []
    text = clean(path.read_text(encoding="utf8", errors="replace"))
    for story in re.split(r"(?<!\n)\n(?!\n)", text):
        story = re.sub(r"\n\n+", "\n\n", story).strip()
        key = story[:80].lower()
        if not 300 <= len(story) <= 1700 or key in seen or ascii_share(story) < 1.0 or not STORY_END.search(story):
            continue
        seen.add(key)
        docs.append({"part": "stories", "kind": "plain", "text": story})
    return docs


def dialogues(path: Path, part: str) -> list[dict]:
    seen, docs = set(), []
    with path.open(encoding="utf8") as lines:
        for line in lines:
            d = json.loads(line)
            if d["src"] != part:
                continue
            turns = [[role, clean(text)] for role, text in d["turns"]]
            key = json.dumps(turns).lower()
            if key not in seen and all(t for _, t in turns):
                seen.add(key)
                docs.append({"part": part, "kind": "chat", "turns": turns})
    return docs
