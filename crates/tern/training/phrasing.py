"""How people put a question: openers, closers, small letters, missing marks, slips of the keyboard.

A model this small takes a wording literally, so every generated question passes through here and the same thing is
asked in very many ways. Invariant: the words that matter (names, numbers, the thing asked about) are never changed,
except that a slip may hit one letter of a longer word.
"""

import re

# Words that lose their capital behind an opener; anything else (names, "I", numbers) keeps it.
OPENING_WORDS = set("""what what's which how who where when why can could do does did is are am tell name give list say count will
would should have has please explain the a an my you your it that this there write make let show add calculate repeat
continue finish if in at on be sing pick choose""".split())
OPENERS = """Hey, |Tern, |Please, |OK, |So, |Well, |Hmm, |Hi! |Hello! |Hi Tern, |Hey Tern, |Dear Tern, |Excuse me, |Quick question: |Question: |
I have a question: |Tell me: |Tell me, |Now |And |But |Oh, |Next: |Sorry, |Just wondering: |I wonder: |One more: |Say, |Can you help me? |
Listen, |Little one, |Friend, |Another question: |Let me ask: |Um, |Okay then, |Right, |By the way, |Good, |Now tell me: |Thanks. |Great! """.replace("\n", "").split("|")
QUESTION_CLOSERS = [", please?", ", do you know?", ", can you tell me?", ", Tern?", ", my friend?", " then?", "? Thanks!", "? I forgot.",
                    "? I want to know.", "? I am curious.", "? Please tell me.", ", little one?", "? Tell me.", ", if you know?", " please",
                    "? Thank you.", "? My son asks.", "? My daughter wants to know.", ", tell me", "??", "?!", ", any idea?", " exactly?",
                    " again?", "? I never know.", ", dear?", " thx", " pls", "? Do you know?", "? Can you tell me?", ", would you say?"]
OTHER_CLOSERS = [", please.", " please", ", Tern.", ", my friend.", "!", "!!", "...", " :)", ", thank you.", ", dear Tern.", " now.", ", will you?", " for me.", ", would you?", " pls", " ok?"]


def lower_first(text: str) -> str:
    first = re.match(r"[A-Za-z']+", text)
    return text[0].lower() + text[1:] if first and first.group().lower() in OPENING_WORDS else text


def slip(rng, text: str) -> str:
    """One keyboard slip in a word of five letters or more."""
    spots = [m for m in re.finditer(r"[a-z]{5,}", text)]
    if not spots:
        return text
    m = rng.choice(spots)
    i = rng.randint(m.start() + 1, m.end() - 2)
    return rng.choice([text[:i] + text[i + 1] + text[i] + text[i + 2:], text[:i] + text[i + 1:], text[:i] + text[i] + text[i:]])


def roughen(rng, text: str) -> str:
    x = rng.random()
    if x < 0.14:
        text = text.lower()
    elif x < 0.22:
        text = text.rstrip(".!?")
    elif x < 0.30:
        text = text.lower().rstrip(".!?")
    elif x < 0.32:
        text = text.replace("'", "")
    return slip(rng, text) if rng.random() < 0.03 else text


def vary(rng, text: str, command: bool = False) -> str:
    """An opener and/or a closer around `text` in about four cases of ten, then `roughen`."""
    if rng.random() < 0.25:
        text = rng.choice(OPENERS) + lower_first(text)
    if rng.random() < 0.2:
        if text.endswith("?"):
            text = text[:-1] + rng.choice(QUESTION_CLOSERS)
        elif command:
            text = text.rstrip(".!") + rng.choice(OTHER_CLOSERS)
    return roughen(rng, text)


def a(noun: str) -> str:
    return ("an " if noun[0] in "aeiouAEIOU" else "a ") + noun


def cap(text: str) -> str:
    return text[:1].upper() + text[1:]


SYLLABLES = "ba be bi bo da di do ka ki ko la le li lo lu ma me mi mo na ne ni no pa pe pi po ra re ri ro sa se si so ta te ti to va vi za zu ja jo fa fi ga go".split()
ENDINGS = ["", "", "n", "s", "l", "r", "rin", "nda", "ck", "tte", "na", "lia", "mir", "x", "ra", "ta"]


def invented_name(rng) -> str:
    """A name nobody has: it can only be copied, not guessed."""
    return ("".join(rng.choice(SYLLABLES) for _ in range(rng.choice([2, 2, 3]))) + rng.choice(ENDINGS)).capitalize()
