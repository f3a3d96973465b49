"""Simple questions with true answers, generated: the knowledge a picture book for small children has.

Every generator yields (question, answer); `question` also roughens. Invariant: an answer is a whole sentence that
repeats what was asked about, so a small model learns to copy before it learns to recall.
"""

import re

from phrasing import a as article
from phrasing import cap, vary
from tables import (ANIMALS, BIGGER, CAPITALS, COLORS, DAYS, DEFINE, KINDS, MADE, MISC, MONTHS, NUMBERS, OPPOSITES,
                    ORDINALS, USES)


def rows(table: str, sep: str = "|"):
    return [r.split(sep) for r in table.split(";")]


CITIES = [[w.replace("_", " ") for w in r] for r in rows(CAPITALS, " ")]
# A word with two opposites keeps the one of its first row.
OPPOSITE = {"light": "dark", "short": "long", "old": "new"}
for _a, _b in rows(OPPOSITES, " "):
    OPPOSITE.setdefault(_a, _b)
    OPPOSITE.setdefault(_b, _a)
ANIMAL_ROWS = rows(ANIMALS)
PLURAL = {"mouse": "mice", "wolf": "wolves", "sheep": "sheep", "fish": "fish", "deer": "deer", "fox": "foxes", "moose": "moose",
          "goose": "geese", "butterfly": "butterflies", "ladybug": "ladybugs", "fly": "flies", "octopus": "octopuses",
          "ostrich": "ostriches", "mosquito": "mosquitoes"}
LEGS = {"no": 0, "two": 2, "four": 4, "six": 6, "eight": 8, "ten": 10}
COLOR_WORDS = "red blue green yellow black white pink purple brown orange gray golden".split()


def plural(noun: str) -> str:
    return PLURAL.get(noun, noun + "s")


def capital(rng):
    country, city = rng.choice(CITIES)
    if rng.random() < 0.2:
        place = rng.choice([f"Where is {city}?", f"In which country is {city}?", f"Which country is {city} in?", f"{city} is in which country?",
                            f"Do you know where {city} is?", f"What country does {city} belong to?", f"In what country can I find {city}?"])
        return place, f"{city} is in {country}."
    adjective = rng.choice(["beautiful ", "lovely ", "sunny ", "old ", "far away "]) if rng.random() < 0.05 and not country.startswith("the") else ""
    c = adjective + country
    if rng.random() < 0.08:
        other = rng.choice(CITIES)[1]
        right = f"Yes, {city} is the capital of {country}." if other == city else f"No, the capital of {country} is {city}."
        return rng.choice([f"Is {other} the capital of {c}?", f"{other} is the capital of {c}, right?"]), right
    return rng.choice([f"What is the capital of {c}?", f"What is the capital of {c}?", f"What's the capital of {c}?", f"What is {c}'s capital?", f"{c}'s capital?",
                       f"capital of {c}", f"The capital of {c}?", f"Tell me the capital of {c}.", f"Which city is the capital of {c}?",
                       f"Which city is {c}'s capital?", f"Do you know the capital of {c}?", f"Can you tell me the capital of {c}?",
                       f"Name the capital of {c}.", f"What is the capital city of {c}?", f"{c}: what is the capital?", f"What city is the capital of {c}?",
                       f"What is the name of the capital of {c}?", f"I forgot the capital of {c}.", f"What do you call the capital of {c}?",
                       f"Which capital does {c} have?", f"I need the capital of {c}."]), f"The capital of {country} is {city}."


def opposite(rng):
    w = rng.choice(list(OPPOSITE))
    q = rng.choice(["What is the opposite of {w}?", "What is the opposite of {w}?", "What's the opposite of {w}", "opposite of {w}", "Opposite of {w}?", "Tell me the opposite of {w}.",
                    "What is the opposite of '{w}'?", "What is the opposite of the word {w}?", "Name the opposite of {w}.", "{W} is the opposite of what?",
                    "{w} is the opposite of which word?", "Which word is the opposite of {w}?", "What word means the opposite of {w}?",
                    "Do you know the opposite of {w}?", "Can you tell me the opposite of {w}?", "the opposite of {w} is?", "The opposite of {w} is what?",
                    "{W}: what is the opposite?", "If it is not {w}, what is it?", "Give me the opposite of {w}.", "What is not {w}?", "Find the opposite of {w}."])
    return q.format(w=w, W=cap(w)), f"The opposite of {w} is {OPPOSITE[w]}."


def animal(rng):
    n, sound, baby, legs, home, food = rng.choice(ANIMAL_ROWS)
    one, many, topic = article(n), plural(n), rng.choices(["sound", "baby", "legs", "home", "food", "who"], [5, 2, 5, 3, 3, 2])[0]
    if topic == "sound":
        return rng.choice([f"What sound does {one} make?", f"What sound do {many} make?", f"What does {one} say?", f"What do {many} say?", f"what noise does {one} make",
                           f"What noise do {many} make?", f"Which sound does {one} make?", f"How does {one} sound?", f"How does the {n} go?", f"What does the {n} say?",
                           f"What sound does the {n} make?", f"Can you tell me the sound of {one}?", f"the sound of {one}?", f"Do you know what {one} says?",
                           f"What sound is made by {one}?", f"Make the sound of {one}."]), f"{cap(one)} {sound}."
    if topic == "baby":
        if baby.startswith("baby"):
            return f"What is a baby {n} called?", f"{cap(article(baby))} is just called {article(baby)}."
        return rng.choice([f"What is a baby {n} called?", f"What do you call a baby {n}?", f"How do you call the baby of {one}?", f"What is the name for a baby {n}?",
                           f"baby {n}?", f"What is the young of {one} called?", f"What are baby {many} called?"]), f"A baby {n} is called {article(baby)}."
    if topic == "legs":
        if rng.random() < 0.2:
            count = rng.choice([2, 4, 6, 8])
            yes = "Yes" if LEGS[legs] == count else "No"
            return rng.choice([f"Does {one} have {NUMBERS[count]} legs?", f"Has {one} {NUMBERS[count]} legs?", f"Do {many} have {NUMBERS[count]} legs?"]), f"{yes}, {one} has {legs} legs."
        return rng.choice([f"How many legs does {one} have?", f"How many legs does {one} have?", f"how many legs has {one}?", f"How many legs do {many} have?", f"How many legs does the {n} have?",
                           f"{cap(one)} has how many legs?", f"legs of {one}?", f"What is the number of legs of {one}?", f"Tell me how many legs {one} has.",
                           f"Do you know how many legs {one} has?", f"How many feet does {one} walk on?", f"Count the legs of {one}."]), f"{cap(one)} has {legs} legs."
    if topic == "home":
        place = {"the coast": "on the coast", "near water": "near water", "Australia": "in Australia"}.get(home, "in " + home)
        return rng.choice([f"Where does {one} live?", f"Where do {many} live?", f"Where is the home of {one}?", f"Where can I find {one}?", f"Where does the {n} live?",
                           f"In what place do {many} live?", f"Do you know where {many} live?", f"What is the home of {one}?"]), f"{cap(one)} lives {place}."
    if topic == "food":
        return rng.choice([f"What does {one} eat?", f"What do {many} eat?", f"what does {one} like to eat", f"What is the food of {one}?", f"What do {many} like to eat?",
                           f"What can I feed {one}?", f"What does the {n} eat?", f"Do you know what {many} eat?", f"What should I give {one} to eat?"]), f"{cap(one)} eats {food}."
    if "no sound" in sound:
        return f"Does {one} make a sound?", f"No, {one} {sound}."
    return rng.choice([f"Which animal {sound}?", f"What animal {sound}?", f"Who {sound}?", f"Name an animal that {sound}."]), f"{cap(one)} {sound}."


def color(rng):
    thing, c = rng.choice(rows(COLORS))
    bare = re.sub(r"^(the|an?) ", "", thing)
    if rng.random() < 0.2:
        other = c if rng.random() < 0.5 else rng.choice(COLOR_WORDS)
        return rng.choice([f"Is {thing} {other}?", f"Is {thing} really {other}?", f"{cap(thing)} is {other}, right?"]), f"Yes, {thing} is {c}." if other == c else f"No, {thing} is {c}."
    if thing != bare and not thing.startswith("the") and rng.random() < 0.25:
        kind = rng.choice(["ripe", "fresh", "normal", "nice"]) if bare in "banana strawberry tomato lemon cherry plum pumpkin carrot cucumber peach blueberry" else rng.choice(["normal", "typical", "real", "usual"])
        return rng.choice([f"What color is a {kind} {bare}?", f"What color does a {kind} {bare} have?", f"Which color has a {kind} {bare}?"]), f"{cap(thing)} is {c}."
    return rng.choice([f"What color is {thing}?", f"What color is {thing}?", f"Which color does {thing} have?", f"what colour is {thing}", f"What is the color of {thing}?", f"Tell me the color of {thing}.",
                       f"What color does {thing} have?", f"Which color is {thing}?", f"color of {thing}?", f"{cap(thing)} has what color?", f"In what color do we paint {thing}?",
                       f"Do you know the color of {thing}?", f"What's the color of {thing}?", f"What colour does {thing} have?", f"{cap(thing)}: what color?"]), f"{cap(thing)} is {c}."


def made(rng):
    thing, m = rng.choice(rows(MADE))
    return rng.choice([f"What is {thing} made of?", f"What do you need to make {thing}?", f"what is {thing} made from?", f"From what do people make {thing}?",
                       f"What do people make {thing} from?", f"How do you make {thing}?", f"{cap(thing)} is made of what?", f"What is in {thing}?"]), f"{cap(thing)} is made of {m}."


def use(rng):
    thing, u = rng.choice(rows(USES))
    bare = re.sub(r"^(an?) ", "", thing)
    them = thing if bare == thing or rng.random() < 0.7 else "the " + bare
    if rng.random() < 0.25:
        return rng.choice([f"What do I need to {u}?", f"I want to {u}. What do I need?", f"What can I use to {u}?", f"With what do people {u}?", f"How can I {u}?"]), f"To {u}, you can use {thing}."
    return rng.choice([f"What do you do with {them}?", f"What can I do with {them}?", f"What is {them} for?", f"What do people use {them} for?", f"What do I use {them} for?",
                       f"What is {them} used for?", f"What do you use {them} for?", f"Why do people have {thing}?", f"Why do I need {thing}?", f"What is {them} good for?",
                       f"What can you do with {them}?", f"What does one do with {them}?", f"How do I use {them}?"]), f"You can use {thing} to {u}."


def definition(rng):
    thing, d = rng.choice(rows(DEFINE))
    bare = re.sub(r"^(the|an?) ", "", thing)
    return rng.choice([f"What is {thing}?", f"What is {thing}?", f"what is {thing}", f"What's {thing}?", f"Tell me what {thing} is.", f"Can you explain what {thing} is?", f"What does \"{bare}\" mean?",
                       f"What does the word {bare} mean?", f"Explain {thing} to me.", f"Do you know what {thing} is?", f"What do we call {thing}?", f"Describe {thing}.", f"What exactly is {thing}?",
                       f"Please explain {thing}.", f"Tell me about {thing}.", f"What kind of thing is {thing}?", f"Can you tell me what {thing} is?", f"What are {bare}s?" if thing != bare and not thing.startswith("the") and not bare.endswith(("s", "y", "f", "h")) else f"what is {thing}?",
                       f"{cap(thing)}, what is that?", f"I do not know what {thing} is.", f"What do people mean by {thing}?", f"Define {bare}."]), f"{cap(thing)} is {d}."


def sum_of(rng):
    op = rng.choice("+++---*")
    if op == "+":
        top = rng.choice([5, 10, 10, 10, 20])
        x, y = rng.randint(0, top), rng.randint(0, top)
        words, r = ("plus", "and", "added to"), x + y
    elif op == "-":
        x = rng.randint(0, rng.choice([5, 10, 10, 10, 20]))
        y = rng.randint(0, x)
        words, r = ("minus", "take away", "less"), x - y
    else:
        x, y = rng.randint(0, 10), rng.randint(0, 10)
        words, r = ("times", "multiplied by", "times"), x * y
    return op, x, y, words, r


def arithmetic(rng):
    op, x, y, words, r = sum_of(rng)
    word = words[0] if rng.random() < 0.75 else rng.choice(words)
    if rng.random() < 0.25 and r <= 20 and x <= 20 and y <= 20:
        p = f"{NUMBERS[x]} {word} {NUMBERS[y]}"
        return rng.choice([f"What is {p}?", f"{p}", f"How much is {p}?", f"What's {p}?", f"{cap(p)} is what?", f"{cap(p)} makes?"]), f"{cap(NUMBERS[x])} {words[0]} {NUMBERS[y]} is {NUMBERS[r]}."
    p = rng.choice([f"{x} {op} {y}", f"{x} {op} {y}", f"{x}{op}{y}", f"{x} {word} {y}", f"{x} {word} {y}"])
    q = rng.choice(["What is {p}?", "What is {p}?", "{p}", "{p}?", "{p} = ?", "{p} =", "How much is {p}?", "Calculate {p}.", "What's {p}?", "What does {p} make?", "{p} is what?", "{p} is how much?",
                    "Can you calculate {p}?", "Do you know what {p} is?", "Tell me what {p} is.", "Work out {p}.", "What is the result of {p}?", "what do you get for {p}", "How much do you get for {p}?", "Compute {p}."])
    return q.format(p=p), f"{x} {op} {y} = {r}."


def story_sum(rng):
    """A sum told as a small story; the answer writes it out first."""
    thing = rng.choice("apples cookies balls books pens eggs cups stars coins cakes fish birds cats dogs flowers stones".split())
    if rng.random() < 0.5:
        x, y = rng.randint(1, 10), rng.randint(1, 10)
        q = rng.choice([f"I have {x} {thing} and get {y} more. How many {thing} do I have?", f"I have {x} {thing} and you give me {y}. How many have I now?", f"There are {x} {thing}, then {y} more come. How many are there?"])
        return q, f"{x} + {y} = {x + y}. So it is {x + y} {thing}."
    x = rng.randint(2, 12)
    y = rng.randint(1, x - 1)
    q = rng.choice([f"I have {x} {thing} and lose {y}. How many {thing} are left?", f"I had {x} {thing} and gave away {y}. How many do I have?", f"There are {x} {thing}, and {y} go away. How many are left?"])
    return q, f"{x} - {y} = {x - y}. So it is {x - y} {thing}."


def too_hard(rng):
    op = rng.choice(["+", "-", "*", "/", "plus", "minus", "times", "divided by"])
    x, y = rng.randint(21, 9999), rng.randint(21, 999)
    if "d" in op or op == "/":
        x, y = rng.randint(3, 2000), rng.randint(2, 90)
    q = rng.choice([f"What is {x} {op} {y}?", f"{x} {op} {y}", f"How much is {x} {op} {y}?", f"Calculate {x} {op} {y}.", f"What is the square root of {x}?", f"How much is {y} percent of {x}?"])
    return q, rng.choice(["That is too hard for me. I can only do sums with small numbers.", "Those numbers are too big for me. Try a sum like 3 + 4."])


def counting(rng):
    kind = rng.randrange(5)
    if kind == 0:
        n = rng.randint(0, 99)
        return rng.choice([f"What number comes after {n}?", f"Which number comes after {n}?", f"What comes after {n}?", f"What is the next number after {n}?", f"What follows {n}?"]), f"After {n} comes {n + 1}."
    if kind == 1:
        n = rng.randint(1, 99)
        return rng.choice([f"What number comes before {n}?", f"What comes before {n}?", f"Which number is right before {n}?"]), f"Before {n} comes {n - 1}."
    if kind in (2, 3):
        n = rng.randint(2, 20)
        up = ", ".join(map(str, range(1, n + 1))) + "."
        if rng.random() < 0.2 and n <= 12:
            return rng.choice([f"Count down from {n}.", f"Count backwards from {n}.", f"Can you count down from {n}?"]), ", ".join(map(str, range(n, -1, -1))) + "."
        t = str(n) if rng.random() < 0.6 else NUMBERS[n]
        return rng.choice([f"Count to {t}.", f"Can you count to {t}?", f"count from 1 to {t}", f"Please count to {t}", f"Count up to {t}.", f"Could you count to {t} for me?", f"Count from one to {t}.",
                           f"Can you count up to {t}?", f"Show me how you count to {t}.", f"I want you to count to {t}.", f"Say the numbers up to {t}."]), up
    x, y = rng.sample(range(0, 50), 2)
    if rng.random() < 0.3:
        return rng.choice([f"Which is smaller, {x} or {y}?", f"What is less, {x} or {y}?"]), f"{min(x, y)} is smaller than {max(x, y)}."
    return rng.choice([f"Which is bigger, {x} or {y}?", f"Which number is larger: {x} or {y}?", f"Is {x} bigger than {y}?", f"What is more, {x} or {y}?", f"{x} or {y}, which is more?"]), f"{max(x, y)} is bigger than {min(x, y)}."


def calendar(rng):
    days = rng.random() < 0.55
    names, unit = (DAYS, "day") if days else (MONTHS, "month")
    i = rng.randrange(len(names))
    m, nxt, prv = names[i], names[(i + 1) % len(names)], names[i - 1]
    kind = rng.randrange(9)
    if kind < 3:
        return rng.choice([f"What {unit} comes after {m}?", f"Which {unit} follows {m}?", f"what comes after {m}", f"Which {unit} comes after {m}?", f"What {unit} is after {m}?", f"{m}: which {unit} is next?",
                           f"Which {unit} is right after {m}?", f"After {m} comes which {unit}?", f"What follows {m}?", f"What is the {unit} after {m}?", f"the {unit} after {m}?", f"What is the next {unit} after {m}?",
                           f"{m}: which {unit} comes after it?", f"What comes next after {m}?"]), f"After {m} comes {nxt}."
    if kind < 6:
        return rng.choice([f"What {unit} comes before {m}?", f"Which {unit} is before {m}?", f"what comes before {m}", f"Which {unit} comes before {m}?", f"What {unit} is right before {m}?",
                           f"Before {m} comes which {unit}?", f"What is the {unit} before {m}?", f"the {unit} before {m}?", f"{m}: which {unit} comes before it?", f"{m}: what {unit} was before it?",
                           f"Which {unit} is just before {m}?"]), f"Before {m} comes {prv}."
    if kind == 6 and not days:
        if rng.random() < 0.5:
            return rng.choice([f"Which month of the year is {m}?", f"What number is the month {m}?"]), f"{m} is the {ORDINALS[i]} month of the year."
        return rng.choice([f"What is the {ORDINALS[i]} month of the year?", f"Which month is the {ORDINALS[i]}?", f"Name the {ORDINALS[i]} month."]), f"The {ORDINALS[i]} month of the year is {m}."
    if kind == 6:
        if rng.random() < 0.5:
            return rng.choice([f"If today is {m}, what day was yesterday?", f"Today is {m}. What day was yesterday?"]), f"If today is {m}, yesterday was {prv}."
        return rng.choice([f"If today is {m}, what day is tomorrow?", f"Today is {m}. What day is tomorrow?", f"It is {m} today, so what is tomorrow?"]), f"If today is {m}, tomorrow is {nxt}."
    if kind == 7 and not days:
        season = ["winter", "winter", "spring", "spring", "spring", "summer", "summer", "summer", "autumn", "autumn", "autumn", "winter"][i]
        return rng.choice([f"In which season is {m}?", f"Which season is it in {m}?", f"Is {m} in summer or in winter?", f"What season does {m} belong to?"]), f"In the north of the world, {m} is in {season}."
    listing = ", ".join(names[:-1]) + " and " + names[-1]
    of = "week" if days else "year"
    return rng.choice([f"Name the {unit}s of the {of}.", f"What are the {unit}s of the {of}?", f"List all {unit}s of the {of}.", f"Which {unit}s does a {of} have?", f"Tell me the {unit}s of the {of}.", f"Can you name all the {unit}s?", f"Say the {unit}s of the {of}."]), f"The {unit}s of the {of} are {listing}."


def singular(kind: str) -> str:
    return "piece of clothing" if kind == "clothes" else kind[:-3] + "y" if kind.endswith("ies") else kind[:-1]


def naming(rng):
    kind = rng.choice(list(KINDS))
    words = KINDS[kind].split()
    if rng.random() < 0.2 and kind not in ("drinks", "clothes", "seasons"):
        w, other = rng.choice(words), rng.choice([k for k in KINDS if k not in ("clothes", "animals", "birds", "toys", "instruments", "fruits", "trees", "flowers", "vegetables", "colors")] + [kind])
        thing = w if w[0].isupper() or kind == "colors" else article(w)
        if rng.random() < 0.5:
            return rng.choice([f"What is {thing}, a {singular(kind)} or a {singular(other)}?", f"Is {thing} {article(singular(kind))}?", f"Is {thing} really {article(singular(kind))}?"]) if kind != other else f"Is {thing} {article(singular(kind))}?", f"{cap(thing)} is {article(singular(kind))}."
        return rng.choice([f"What kind of thing is {thing}?", f"{cap(thing)} is a kind of what?"]), f"{cap(thing)} is {article(singular(kind))}."
    n = min(rng.choice([1, 2, 3, 3, 3, 4, 5]), len(words))
    at = rng.randrange(len(words))
    chosen = (words + words)[at:at + n]  # in the table's order, which can be learnt; a random choice could not
    if n == 1:
        one = singular(kind)
        thing = chosen[0] if not chosen[0].islower() or kind in ("colors", "drinks", "seasons") else article(chosen[0])
        return rng.choice([f"Name {article(one)}.", f"Tell me the name of {article(one)}.", f"Give me {article(one)}.", f"Can you name {article(one)}?", f"Tell me {article(one)}.", f"Do you know {article(one)}?", f"Think of {article(one)}."]), f"{cap(thing)} is {article(one)}."
    listed = ", ".join(chosen[:-1]) + " and " + chosen[-1]
    num = rng.choice([NUMBERS[n], NUMBERS[n], str(n)])
    return rng.choice([f"Name {num} {kind}.", f"Can you name {num} {kind}?", f"List {num} {kind}.", f"Tell me {num} {kind}.", f"Give me {num} {kind}", f"Give me the names of {num} {kind}.", f"Tell me the names of {num} {kind}.",
                       f"Do you know {num} {kind}?", f"What are {num} {kind}?", f"I need {num} {kind}.", f"{num} {kind}, please", f"Which {num} {kind} do you know?", f"Write down {num} {kind}.", f"Could you list {num} {kind}?"]), f"{cap(NUMBERS[n])} {kind} are {listed}."


def bigger(rng):
    x, y = rng.sample(BIGGER, 2)
    big = x if BIGGER.index(x) > BIGGER.index(y) else y
    small = y if big == x else x
    px, py = rng.choice(["", "", "", "really ", "much "]), rng.choice(["", "", "", "little ", "big "])
    return rng.choice([(rng.choice([f"Which is bigger, {article(x)} or {article(y)}?", f"What is bigger: {article(x)} or {article(y)}?", f"Who is bigger, the {x} or the {y}?", f"{cap(article(x))} or {article(y)}, which is bigger?"]), f"{cap(article(big))} is bigger than {article(small)}."),
                       (rng.choice([f"Which is smaller, {article(x)} or {article(y)}?", f"What is smaller, {article(x)} or {article(y)}?"]), f"{cap(article(small))} is smaller than {article(big)}."),
                       (rng.choice([f"Is {article(x)} {px}bigger than {article(py + y)}?", f"Are {plural(x)} bigger than {plural(y)}?", f"Is the {x} bigger than the {y}?"]), f"{'Yes' if x == big else 'No'}, {article(big)} is bigger than {article(small)}."),
                       (f"Is {article(x)} {px}smaller than {article(y)}?", f"{'Yes' if x == small else 'No'}, {article(small)} is smaller than {article(big)}.")])


RHYMES = "cat hat;dog frog;house mouse;tree bee;star car;moon spoon;sun fun;day play;night light;bear chair;fish dish;cake lake;ball wall;rain train;snow crow;king ring;boat goat;book cook;red bed;blue shoe;fox box;bell shell;rose nose;sand hand;sea key;pen hen;sky fly;bug rug;duck truck;wing sing;pie tie;sleep sheep;town crown;stone bone;pig wig;hill pill;seed weed;flower tower;kitten mitten;jelly belly"
PLURALS = "mouse mice;child children;foot feet;tooth teeth;goose geese;man men;woman women;sheep sheep;fish fish;leaf leaves;knife knives;wolf wolves;box boxes;baby babies;cat cats;dog dogs;house houses;story stories;bus buses;potato potatoes;person people;fox foxes;berry berries;tree trees;book books;shelf shelves;city cities;dish dishes;key keys;loaf loaves"
PAST = "go went;eat ate;see saw;run ran;sing sang;swim swam;fly flew;come came;give gave;take took;find found;think thought;buy bought;bring brought;write wrote;read read;sleep slept;speak spoke;drink drank;sit sat;stand stood;win won;lose lost;make made;say said;tell told;know knew;grow grew;fall fell;begin began;play played;walk walked;laugh laughed;cry cried;help helped;jump jumped;have had;do did;get got;hear heard"


def word_game(rng):
    kind = rng.randrange(3)
    if kind == 0:
        x, y = rng.choice(rows(RHYMES, " "))
        if rng.random() < 0.5:
            x, y = y, x
        return rng.choice([f"What rhymes with {x}?", f"Give me a rhyme for {x}.", f"Which word rhymes with {x}?", f"Tell me a word that rhymes with {x}.", f"A rhyme for {x}?"]), f"{cap(x)} rhymes with {y}."
    x, y = rng.choice(rows(PLURALS if kind == 1 else PAST, " "))
    if kind == 1:
        return rng.choice([f"What is the plural of {x}?", f"plural of {x}?", f"One {x}, two what?", f"Tell me the plural of {x}.", f"How do you say more than one {x}?"]), f"The plural of {x} is {y}."
    return rng.choice([f"What is the past tense of {x}?", f"past tense of {x}?", f"Tell me the past tense of {x}.", f"What is the past of the verb {x}?"]), f"The past tense of {x} is {y}."


ABLE = {"swim": ("fish duck frog whale dolphin penguin turtle shark seal crocodile", "hen butterfly bee snail"), "fly": ("owl bee eagle butterfly bat crow parrot gull tern swan", "pig dog cat snake elephant penguin cow"),
        "bark": ("dog seal fox", "cat cow fish hen"), "lay eggs": ("hen duck turtle snake frog goose", "dog cat cow horse pig"), "climb trees": ("monkey cat squirrel bear", "cow fish horse whale"),
        "run fast": ("horse rabbit deer zebra dog", "snail turtle worm"), "hop": ("rabbit frog kangaroo", "cow elephant fish")}


def can_animal(rng):
    verb = rng.choice(list(ABLE))
    yes = rng.random() < 0.5
    n = rng.choice(ABLE[verb][0 if yes else 1].split())
    q = rng.choice([f"Can {article(n)} {verb}?", f"Can {plural(n)} {verb}?", f"Is {article(n)} able to {verb}?", f"Do you think {article(n)} can {verb}?"])
    return q, f"Yes, {article(n)} can {verb}." if yes else f"No, {article(n)} cannot {verb}."


def misc(rng):
    q, ans = rng.choice(MISC)
    x = rng.random()
    if x < 0.2 and q.startswith("How many"):
        q = rng.choice(["Do you know how", "Can you tell me how", "Tell me how"]) + q[3:]
    elif x < 0.3:
        q = q.replace("What do ", "What things do ") if q.startswith("What do you ") is False else q
    elif x < 0.45 and q.startswith("Why do "):
        subject = q[7:-1]
        q = rng.choice([f"Do you know why {subject}?", f"Tell me why {subject}.", f"Explain why {subject}.", f"Why is it that {subject}?", f"For what reason do {subject}?"])
    return q, ans


def echo(rng):
    words = rng.sample("apple river moon stone happy tiger blue window seven bread cloud dance green little music train rabbit silver hello garden water good lemon paper winter summer story friend".split(), rng.randint(1, 4))
    text = " ".join(words)
    return rng.choice([f"Say \"{text}\".", f"Repeat after me: {text}", f"Say {text}.", f"Can you say {text}?", f"Repeat: {text}", f"Say this: {text}", f"Write \"{text}\".", f"Repeat the words {text}."]), cap(text) + "."


GENERATORS = [(capital, 8), (opposite, 10), (animal, 11), (color, 7), (made, 2), (use, 6), (definition, 10), (arithmetic, 22), (story_sum, 2), (too_hard, 1),
              (counting, 5), (calendar, 7), (naming, 6), (bigger, 5), (word_game, 3), (can_animal, 2), (misc, 8), (echo, 2)]
# What can be asked again with "And ...?": (first question, what the follow-up names, answer).
FOLLOW = ["And {x}?", "and {x}", "What about {x}?", "And what about {x}?", "And of {x}?", "Now {x}.", "how about {x}?", "And for {x}?"]


def draw(rng):
    fns, weights = zip(*GENERATORS)
    return rng.choices(fns, weights)[0](rng)


def question(rng):
    q, ans = draw(rng)
    return vary(rng, q, command=True), ans


def follow_up(rng):
    """A question and one or two short ones of the same kind."""
    kind = rng.randrange(4)
    if kind == 0:
        first = capital_of = rng.choice(CITIES)
        pairs = [(f"What is the capital of {first[0]}?", f"The capital of {first[0]} is {first[1]}.")]
        more = [(c, f"The capital of {c} is {t}.") for c, t in rng.sample([c for c in CITIES if c is not capital_of], 2)]
    elif kind == 1:
        ws = rng.sample(list(OPPOSITE), 3)
        pairs = [(f"What is the opposite of {ws[0]}?", f"The opposite of {ws[0]} is {OPPOSITE[ws[0]]}.")]
        more = [(w, f"The opposite of {w} is {OPPOSITE[w]}.") for w in ws[1:]]
    elif kind == 2:
        rs = rng.sample(ANIMAL_ROWS, 3)
        legs = rng.random() < 0.5
        say = (lambda r: f"{cap(article(r[0]))} has {r[3]} legs.") if legs else (lambda r: f"{cap(article(r[0]))} {r[1]}.")
        pairs = [(f"How many legs does {article(rs[0][0])} have?" if legs else f"What sound does {article(rs[0][0])} make?", say(rs[0]))]
        more = [(article(r[0]), say(r)) for r in rs[1:]]
    else:
        rs = rng.sample(rows(COLORS), 3)
        pairs = [(f"What color is {rs[0][0]}?", f"{cap(rs[0][0])} is {rs[0][1]}.")]
        more = [(t, f"{cap(t)} is {c}.") for t, c in rs[1:]]
    for x, ans in more[:rng.choice([1, 1, 2])]:
        pairs.append((vary(rng, rng.choice(FOLLOW).format(x=x)), ans))
    return [(vary(rng, pairs[0][0]), pairs[0][1]), *pairs[1:]]
