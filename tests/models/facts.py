"""Simple questions with true answers, generated: the knowledge a picture book for small children has.

Every generator yields (question, answer). Tables are ours; each row is common knowledge. Invariant: an answer is a
whole sentence that repeats what was asked about, so a small model learns to copy before it learns to recall.
"""

CAPITALS = """France Paris;Germany Berlin;Italy Rome;Spain Madrid;Portugal Lisbon;England London;Scotland Edinburgh;Ireland Dublin;Norway Oslo;Sweden Stockholm;Finland Helsinki;Denmark Copenhagen;Poland Warsaw;Austria Vienna;Hungary Budapest;Greece Athens;Turkey Ankara;Russia Moscow;Japan Tokyo;China Beijing;India New_Delhi;Egypt Cairo;Kenya Nairobi;Canada Ottawa;Mexico Mexico_City;Brazil Brasilia;Argentina Buenos_Aires;Chile Santiago;Peru Lima;Cuba Havana;Australia Canberra;Switzerland Bern;Belgium Brussels;Thailand Bangkok;Vietnam Hanoi;Iceland Reykjavik;Ukraine Kyiv;Morocco Rabat"""
OPPOSITES = """hot cold;big small;up down;day night;fast slow;happy sad;open closed;light dark;old new;young old;wet dry;hard soft;full empty;high low;long short;near far;early late;good bad;rich poor;strong weak;loud quiet;clean dirty;left right;inside outside;yes no;first last;black white;heavy light;thick thin;wide narrow;deep shallow;easy difficult;true false;awake asleep;alive dead;brave afraid;sweet sour;warm cool;top bottom;front back;start end;push pull;give take;love hate;win lose;laugh cry;buy sell;come go;smooth rough;friend enemy;summer winter;morning evening;always never;many few;safe dangerous;kind mean;beautiful ugly;lazy busy;sharp dull;tall short"""
ANIMALS = """dog|barks|puppy|four|a kennel|bones and meat;cat|meows|kitten|four|a house|fish and mice;cow|moos|calf|four|a farm|grass;sheep|bleats|lamb|four|a farm|grass;horse|neighs|foal|four|a stable|hay and grass;pig|oinks|piglet|four|a farm|almost anything;duck|quacks|duckling|two|a pond|plants and bugs;hen|clucks|chick|two|a farm|seeds;lion|roars|cub|four|the savanna|meat;bear|growls|cub|four|the forest|berries, fish and honey;wolf|howls|pup|four|the forest|meat;frog|croaks|tadpole|four|a pond|flies;owl|hoots|owlet|two|a tree|mice;bee|buzzes|larva|six|a hive|nectar;goat|bleats|kid|four|the mountains|grass and leaves;fox|barks|cub|four|a den|mice and berries;rabbit|squeaks|bunny|four|a burrow|grass and carrots;mouse|squeaks|pup|four|a hole|seeds and cheese;elephant|trumpets|calf|four|the savanna|leaves and grass;monkey|chatters|baby|two|the jungle|fruit;bird|sings|chick|two|a nest|seeds and worms;snake|hisses|hatchling|no|the grass|mice;spider|makes no sound|spiderling|eight|a web|flies;ant|makes no sound|larva|six|an ant hill|crumbs and seeds;fish|makes no sound|fry|no|the water|small water animals;tern|screeches|chick|two|the coast|fish;deer|grunts|fawn|four|the forest|leaves and grass;whale|sings|calf|no|the ocean|small sea animals;penguin|honks|chick|two|the icy south|fish;squirrel|chatters|kit|four|a tree|nuts"""
COLORS = """the sky|blue;grass|green;the sun|yellow;snow|white;a banana|yellow;a strawberry|red;a tomato|red;coal|black;a lemon|yellow;an orange|orange;a carrot|orange;milk|white;chocolate|brown;a frog|green;blood|red;a leaf|green;the sea|blue;a flamingo|pink;a raven|black;a polar bear|white;a fire truck|red;the night sky|black;a cucumber|green;wood|brown;gold|yellow;a cherry|red;a plum|purple;a pumpkin|orange;a cloud|white;a pig|pink;an elephant|gray;a swan|white;tea|brown;paper|white"""
MADE = """bread|flour;cheese|milk;butter|milk;paper|wood;glass|sand;wine|grapes;a candle|wax;a book|paper;an omelette|eggs;a snowman|snow;ice|frozen water;a sweater|wool;a tire|rubber;a window|glass;a coin|metal;jam|fruit and sugar;chocolate|cocoa beans;a table|wood;honey|nectar;yogurt|milk"""
USES = """a knife|cut things;a pen|write;a spoon|eat soup;a key|open a lock;a bed|sleep;a cup|drink;an umbrella|stay dry in the rain;a lamp|make light;a clock|tell the time;a broom|sweep the floor;a boat|travel on water;a kite|play in the wind;a hammer|hit nails;a map|find the way;soap|wash your hands;a towel|dry yourself;a phone|talk to people far away;a camera|take pictures;an oven|bake;a fridge|keep food cold;scissors|cut paper;a telescope|look at the stars;a bridge|cross a river;a ladder|climb up high;glasses|see better;a toothbrush|clean your teeth;a comb|tidy your hair;a needle|sew;a pillow|rest your head;a coat|keep warm"""
DEFINE = """a tree|a tall plant with a trunk, branches and leaves;the moon|a big ball of rock that goes around the Earth;the sun|a star that gives us light and warmth;a river|a long stream of water that flows to the sea;a mountain|a very high piece of land;rain|water that falls from the clouds;snow|soft white ice that falls from the sky when it is cold;an island|land with water all around it;a desert|a dry place where almost nothing grows;the ocean|a huge body of salt water;a bird|an animal with feathers and wings;a fish|an animal that lives in water and breathes with gills;an insect|a small animal with six legs;a forest|a place with many trees;a rainbow|an arc of colors that you see when the sun shines through rain;a cloud|a lot of tiny drops of water in the sky;a star|a huge ball of hot gas far away in space;a planet|a big round thing that goes around a star;a volcano|a mountain that can throw out hot rock;a storm|bad weather with strong wind and rain;thunder|the loud sound that lightning makes;a friend|someone you like and trust;a teacher|someone who helps people learn;a doctor|someone who helps sick people get well;a farmer|someone who grows food and keeps animals;a baker|someone who makes bread and cakes;a king|a man who rules a country;a queen|a woman who rules a country;a computer|a machine that works with numbers and words;a browser|a program that shows web pages;the internet|a huge net of computers that talk to each other;a language model|a program that guesses the next word of a text;a robot|a machine that can do work by itself;music|sound that is nice to listen to;a poem|a short text with rhythm and often with rhymes;a story|a tale about things that happen to someone;a library|a place where you can read and borrow books;a museum|a place where you can look at old or beautiful things;a school|a place where children learn;a garden|a place where people grow flowers and vegetables;a seed|a small thing from which a plant grows;an egg|a thing from which a baby bird comes out;honey|a sweet food that bees make;a dream|a story that your mind makes while you sleep;winter|the coldest season of the year;summer|the warmest season of the year;spring|the season when flowers begin to grow;autumn|the season when the leaves fall;a lighthouse|a tower with a bright light that helps ships;a tern|a small sea bird that flies very far;gravity|the force that pulls things down to the ground;ice|water that is frozen;fire|hot and bright flames;wind|air that moves;sand|very many tiny pieces of rock;a birthday|the day when you were born"""
BIGGER = ["ant", "bee", "mouse", "frog", "cat", "dog", "sheep", "cow", "horse", "elephant", "whale"]
KINDS = {"animals": "dog cat horse lion rabbit bear duck fox whale sheep", "fruits": "apple banana cherry pear orange grape plum lemon peach", "colors": "red blue green yellow black white pink purple brown orange", "vegetables": "carrot potato onion cabbage pea bean tomato spinach", "birds": "owl duck swan eagle tern robin crow gull sparrow", "flowers": "rose tulip daisy lily violet sunflower", "planets": "Mercury Venus Earth Mars Jupiter Saturn Uranus Neptune", "seasons": "spring summer autumn winter", "toys": "ball doll kite puzzle drum train", "instruments": "piano guitar violin drum flute trumpet", "drinks": "water milk tea coffee juice", "clothes": "shirt coat hat sock shoe dress", "trees": "oak pine birch maple willow apple", "countries": "France Japan Brazil Egypt Canada India Spain Norway"}
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
MONTHS = "January February March April May June July August September October November December".split()
NUMBERS = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty".split()
ORDINALS = "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth".split()
MISC = [("How many days are in a week?", "There are seven days in a week."), ("How many months are in a year?", "There are twelve months in a year."), ("How many days are in a year?", "A year has 365 days, and a leap year has 366."), ("How many hours are in a day?", "There are 24 hours in a day."), ("How many minutes are in an hour?", "There are 60 minutes in an hour."), ("How many seconds are in a minute?", "There are 60 seconds in a minute."), ("How many seasons are there?", "There are four seasons: spring, summer, autumn and winter."), ("How many fingers do people have?", "Most people have ten fingers."), ("How many planets are there?", "There are eight planets in the solar system."), ("What is the biggest planet?", "The biggest planet is Jupiter."), ("What planet do we live on?", "We live on Earth."), ("What is the largest animal?", "The largest animal is the blue whale."), ("What is the tallest animal?", "The tallest animal is the giraffe."), ("What is the fastest land animal?", "The fastest land animal is the cheetah."), ("What do bees make?", "Bees make honey."), ("What do cows give us?", "Cows give us milk."), ("What do hens lay?", "Hens lay eggs."), ("Where does the sun rise?", "The sun rises in the east."), ("Where does the sun set?", "The sun sets in the west."), ("At what temperature does water freeze?", "Water freezes at 0 degrees Celsius."), ("At what temperature does water boil?", "Water boils at 100 degrees Celsius."), ("What do plants need to grow?", "Plants need light, water and air to grow."), ("How many letters are in the alphabet?", "The English alphabet has 26 letters."), ("What are the vowels?", "The vowels are a, e, i, o and u."), ("What colors are in a rainbow?", "A rainbow has red, orange, yellow, green, blue and violet."), ("What do you get when you mix blue and yellow?", "Blue and yellow make green."), ("What do you get when you mix red and yellow?", "Red and yellow make orange."), ("What do you get when you mix red and blue?", "Red and blue make purple."), ("What do you get when you mix black and white?", "Black and white make gray."), ("Why is the sky blue?", "The air scatters blue light more than other colors, so the sky looks blue."), ("Why do leaves fall?", "Trees drop their leaves in autumn to save water in winter."), ("Why do we sleep?", "We sleep so that our body and mind can rest."), ("Why do birds fly south?", "Many birds fly south because it is warmer there in winter."), ("How do fish breathe?", "Fish breathe with gills."), ("How do birds fly?", "Birds fly by beating their wings."), ("What is the opposite of a question?", "The opposite of a question is an answer."), ("How many legs does a chair have?", "A chair usually has four legs."), ("How many wheels does a car have?", "A car has four wheels."), ("How many wheels does a bicycle have?", "A bicycle has two wheels."), ("Can pigs fly?", "No, pigs cannot fly."), ("Can birds fly?", "Yes, most birds can fly."), ("Can fish walk?", "No, fish cannot walk. They swim."), ("Is the Earth round?", "Yes, the Earth is round."), ("Is ice cold?", "Yes, ice is cold."), ("Is fire hot?", "Yes, fire is hot."), ("Does the moon shine?", "The moon shines because it reflects the light of the sun."), ("Who wrote Alice in Wonderland?", "Lewis Carroll wrote Alice in Wonderland."), ("Who wrote Peter Pan?", "J. M. Barrie wrote Peter Pan."), ("Who is Winnie the Pooh?", "Winnie the Pooh is a bear who loves honey."), ("What do we breathe?", "We breathe air."), ("Where do penguins live?", "Penguins live in the cold south."), ("What comes after night?", "After the night comes the day.")]


def rows(table: str, sep: str = "|"):
    return [r.split(sep) for r in table.split(";")]


def cap(s: str) -> str:
    return s[0].upper() + s[1:]


def article(noun: str) -> str:
    return ("an " if noun[0] in "aeiouAEIOU" else "a ") + noun


def capital(rng):
    country, city = (w.replace("_", " ") for w in rng.choice(rows(CAPITALS, " ")))
    return rng.choice([
        (rng.choice([f"What is the capital of {country}?", f"capital of {country}", f"Tell me the capital of {country}.", f"Which city is the capital of {country}?", f"Do you know the capital of {country}?"]), f"The capital of {country} is {city}."),
        (f"Where is {city}?", f"{city} is in {country}."),
    ])


def opposite(rng):
    a, b = rng.choice(rows(OPPOSITES, " "))
    if rng.random() < 0.4 and a not in ("young", "light", "tall"):
        a, b = b, a
    if a == "old" or a == "light" or a == "short":
        a, b = {"old": ("old", "young"), "light": ("light", "dark"), "short": ("short", "long")}[a]
    return rng.choice([f"What is the opposite of {a}?", f"opposite of {a}", f"Tell me the opposite of {a}.", f"What is the opposite of '{a}'?", f"What's the opposite of {a}", f"Name the opposite of {a}."]), f"The opposite of {a} is {b}."


def animal(rng):
    n, sound, baby, legs, home, food = rng.choice(rows(ANIMALS))
    plural = {"mouse": "mice", "wolf": "wolves", "sheep": "sheep", "fish": "fish", "deer": "deer", "fox": "foxes"}.get(n, n + "s")
    return rng.choice([
        (rng.choice([f"What sound does {article(n)} make?", f"What does {article(n)} say?", f"what noise does {article(n)} make"]), f"{cap(article(n))} {sound}."),
        (rng.choice([f"What is a baby {n} called?", f"What do you call a baby {n}?", f"How do you call the baby of {article(n)}?"]), f"A baby {n} is called {article(baby)}."),
        (rng.choice([f"How many legs does {article(n)} have?", f"how many legs has {article(n)}?"]), f"{cap(article(n))} has {legs} legs."),
        (rng.choice([f"Where does {article(n)} live?", f"Where do {plural} live?"]), f"{cap(article(n))} lives in {home}." if not home.startswith("the coast") else f"{cap(article(n))} lives on the coast."),
        (rng.choice([f"What does {article(n)} eat?", f"What do {plural} eat?", f"what does {article(n)} like to eat"]), f"{cap(article(n))} eats {food}."),
    ])


def color(rng):
    thing, c = rng.choice(rows(COLORS))
    if rng.random() < 0.2:
        other = rng.choice([x for _, x in rows(COLORS)])
        return f"Is {thing} {other}?", f"Yes, {thing} is {c}." if other == c else f"No, {thing} is {c}."
    return rng.choice([f"What color is {thing}?", f"Which color does {thing} have?", f"what colour is {thing}", f"What is the color of {thing}?", f"Tell me the color of {thing}."]), f"{cap(thing)} is {c}."


def made(rng):
    thing, m = rng.choice(rows(MADE))
    return rng.choice([f"What is {thing} made of?", f"What do you need to make {thing}?", f"what is {thing} made from?"]), f"{cap(thing)} is made of {m}."


def use(rng):
    thing, u = rng.choice(rows(USES))
    return rng.choice([
        (rng.choice([f"What do you do with {thing}?", f"What can I do with {thing}?", f"What is {thing} for?", f"What do people use {thing} for?"]), f"You can use {thing} to {u}."),
        (f"What do I need to {u}?", f"To {u}, you can use {thing}."),
    ])


def definition(rng):
    thing, d = rng.choice(rows(DEFINE))
    return rng.choice([f"What is {thing}?", f"what is {thing}", f"Tell me what {thing} is.", f"Can you explain what {thing} is?", f"What does \"{thing}\" mean?", f"Explain {thing} to me.", f"Do you know what {thing} is?"]), f"{cap(thing)} is {d}."


def arithmetic(rng):
    op = rng.choice("++--*")
    if op == "+":
        a, b = rng.randint(0, 12), rng.randint(0, 12)
        words, r = ("plus", "and"), a + b
    elif op == "-":
        a = rng.randint(0, 20)
        b = rng.randint(0, a)
        words, r = ("minus", "minus"), a - b
    else:
        a, b = rng.randint(0, 10), rng.randint(0, 5)
        words, r = ("times", "times"), a * b
    if rng.random() < 0.2 and r <= 20 and a <= 20 and b <= 20:
        return f"What is {NUMBERS[a]} {words[0]} {NUMBERS[b]}?", f"{cap(NUMBERS[a])} {words[0]} {NUMBERS[b]} is {NUMBERS[r]}."
    q = rng.choice([f"What is {a} {op} {b}?", f"What is {a} {words[0]} {b}?", f"{a} {op} {b}", f"{a} {op} {b} = ?", f"How much is {a} {words[0]} {b}?", f"Calculate {a} {op} {b}.", f"What's {a}{op}{b}?"])
    return q, f"{a} {op} {b} = {r}."


def counting(rng):
    kind = rng.randrange(4)
    if kind == 0:
        n = rng.randint(0, 19)
        return rng.choice([f"What number comes after {n}?", f"Which number comes after {n}?"]), f"After {n} comes {n + 1}."
    if kind == 1:
        n = rng.randint(1, 20)
        return f"What number comes before {n}?", f"Before {n} comes {n - 1}."
    if kind == 2:
        n = rng.randint(3, 12)
        return rng.choice([f"Count to {n}.", f"Can you count to {n}?", f"count from 1 to {n}", f"Please count to {n}"]), ", ".join(map(str, range(1, n + 1))) + "."
    a, b = rng.sample(range(0, 30), 2)
    return rng.choice([f"Which is bigger, {a} or {b}?", f"Which number is larger: {a} or {b}?", f"Is {a} bigger than {b}?"]), f"{max(a, b)} is bigger than {min(a, b)}."


def calendar(rng):
    days = rng.random() < 0.6
    names, unit = (DAYS, "day") if days else (MONTHS, "month")
    i = rng.randrange(len(names))
    nxt, prv = names[(i + 1) % len(names)], names[i - 1]
    kind = rng.randrange(4)
    if kind == 0:
        return rng.choice([f"What {unit} comes after {names[i]}?", f"Which {unit} follows {names[i]}?", f"what comes after {names[i]}"]), f"After {names[i]} comes {nxt}."
    if kind == 1:
        return rng.choice([f"What {unit} comes before {names[i]}?", f"Which {unit} is before {names[i]}?", f"what comes before {names[i]}"]), f"Before {names[i]} comes {prv}."
    if kind == 2 and not days:
        return f"What is the {ORDINALS[i]} month of the year?", f"The {ORDINALS[i]} month of the year is {names[i]}."
    if kind == 2:
        return f"If today is {names[i]}, what day is tomorrow?", f"If today is {names[i]}, tomorrow is {nxt}."
    listing = ", ".join(names[:-1]) + " and " + names[-1]
    return rng.choice([f"Name the {unit}s of the {'week' if days else 'year'}.", f"What are the {unit}s of the {'week' if days else 'year'}?", f"List all {unit}s of the {'week' if days else 'year'}."]), f"The {unit}s of the {'week' if days else 'year'} are {listing}."


def naming(rng):
    kind = rng.choice(list(KINDS))
    words = KINDS[kind].split()
    n = min(rng.choice([1, 2, 3, 3, 3, 4, 5]), len(words))
    chosen = rng.sample(words, n)
    if n == 1:
        one = kind[:-3] + "y" if kind.endswith("ies") else kind[:-1]
        if kind == "clothes":
            one = "piece of clothing"
        return rng.choice([f"Name {article(one)}.", f"Tell me the name of {article(one)}.", f"Give me {article(one)}."]), f"{cap(article(chosen[0]) if chosen[0].islower() and kind not in ('colors', 'drinks', 'seasons') else chosen[0])} is {article(one)}."
    listed = ", ".join(chosen[:-1]) + " and " + chosen[-1]
    return rng.choice([f"Name {NUMBERS[n]} {kind}.", f"Can you name {NUMBERS[n]} {kind}?", f"List {n} {kind}.", f"Tell me {NUMBERS[n]} {kind}.", f"Give me {n} {kind}"]), f"{cap(NUMBERS[n])} {kind} are {listed}."


def bigger(rng):
    a, b = rng.sample(BIGGER, 2)
    big = a if BIGGER.index(a) > BIGGER.index(b) else b
    small = b if big == a else a
    return rng.choice([(f"Which is bigger, {article(a)} or {article(b)}?", f"{cap(article(big))} is bigger than {article(small)}."), (f"Which is smaller, {article(a)} or {article(b)}?", f"{cap(article(small))} is smaller than {article(big)}."), (f"Is {article(a)} bigger than {article(b)}?", f"{'Yes' if a == big else 'No'}, {article(big)} is bigger than {article(small)}.")])


def misc(rng):
    return rng.choice(MISC)


def echo(rng):
    words = rng.sample("apple river moon stone happy tiger blue window seven bread cloud dance green little music train rabbit silver".split(), rng.randint(1, 3))
    text = " ".join(words)
    return rng.choice([f"Say \"{text}\".", f"Repeat after me: {text}", f"Please say {text}.", f"Can you say {text}?"]), cap(text) + "."


GENERATORS = [(capital, 3), (opposite, 5), (animal, 7), (color, 4), (made, 2), (use, 4), (definition, 7), (arithmetic, 6),
              (counting, 4), (calendar, 4), (naming, 4), (bigger, 2), (misc, 5), (echo, 2)]


def question(rng):
    fns, weights = zip(*GENERATORS)
    return rng.choices(fns, weights)[0](rng)
