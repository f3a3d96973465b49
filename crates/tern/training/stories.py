"""Short stories from a grammar, with requests that name what the story is about.

They teach what a corpus of stories alone does not: that the story told is the story asked for (the hero, the place
or the thing of the request comes back in it), and that a story has a problem, an attempt, an end and then stops.
"""

import re

import names
from phrasing import a, cap, vary

HEROES = """fox bear rabbit mouse cat dog duck frog owl bird fish bee tern horse pig lamb squirrel hedgehog turtle lion elephant monkey penguin wolf deer
dragon robot goat hen snail butterfly cow donkey crow swan goose whale dolphin crab spider ladybug tiger giraffe zebra camel kangaroo beaver badger mole otter
seal parrot raven sparrow gull eagle hamster pony kitten puppy lizard toad worm ghost fairy giant troll unicorn mermaid elf snowman star cloud tree boat train kite""".split()
PEOPLE = "boy girl king queen princess prince wizard farmer baker sailor knight child witch pirate fisherman gardener teacher painter shepherd miller tailor grandmother grandfather inventor astronaut musician cook".split()
MALE = {"boy", "king", "prince", "wizard", "fisherman", "grandfather", "snowman"}
FEMALE = {"girl", "queen", "princess", "hen", "witch", "grandmother", "mermaid", "fairy", "cow"}
PLACES = ["in a dark wood", "under a tall oak", "in a small town", "on the top of a hill", "in a cave", "beside a river", "at the end of a road", "in a red house", "in a tiny village", "in the mountains", "near the old mill", "behind the blue hills", "in the snow", "at the harbor", "in a lighthouse", "in a quiet forest", "near a blue lake", "on a small farm", "by the sea", "in a green valley", "in a big garden", "at the edge of a village", "on a little island", "in an old castle", "on a high hill"]
THINGS = "red ball|golden key|little boat|shiny stone|blue kite|old book|small drum|warm scarf|silver bell|wooden sword|yellow hat|magic lamp|green apple|glass marble|paper star|tiny seed|big balloon|lost letter|silver spoon|blue feather|round mirror|green bottle|wooden box|brass lantern|white shell|old map|soft pillow|golden ring|tin soldier|red umbrella|black button|purple ribbon|brown basket|sparkling stone|wooden flute|heavy book|golden coin|pink flower|clay pot|toy train".split("|")
FOODS = "honey cake|apple pie|bowl of soup|loaf of bread|basket of berries|piece of cheese|jar of jam|plate of pancakes".split("|")
TRAITS = "little small young brave kind curious shy happy clever lazy lonely hungry proud gentle old tiny friendly quiet sad sleepy grumpy cheerful careful funny wise forgetful busy patient poor white brown gray".split()
FEARS = ["the dark", "the deep water", "thunder", "high places", "the big wind", "strangers", "loud noises"]
WEATHER = ["It was a warm and sunny day.", "The rain had just stopped.", "Snow lay on the ground.", "The wind was blowing.", "It was early in the morning.", "The sun was going down."]
MORALS = ["And from that day on, they were best friends.", "And they lived happily ever after.", "It had been a very good day.", "That night, {n} slept well and had sweet dreams.", "{n} never forgot that day.", "And everyone was happy.", "From then on, {n} was never alone again."]


def lost(v, r):
    return [r("{n} loved {poss} {thing} more than anything else.", "{n} had {a_thing} and played with it every day.", "The best thing {n} had was {a_thing}."),
            r("One day, the {thing} was gone.", "One morning, {n} could not find the {thing}.", "But one day, {n} lost the {thing}."),
            r("{n} looked under the bed and behind the door, but it was not there.", "{n} looked everywhere and began to cry.", "{n} was very sad and did not know what to do."),
            r("Then {a_friend} named {f} came by.", "Just then, {a_friend} called {f} walked past."),
            r("\"Why are you sad?\" asked {f}.", "\"What is the matter?\" asked {f}.", "\"Can I help you?\" asked {f}."),
            r("\"I have lost my {thing},\" said {n}.", "\"My {thing} is gone,\" said {n}."),
            r("\"Let us look for it together,\" said {f}.", "\"Do not worry, I will help you,\" said {f}."),
            r("They looked {where}, and there it was!", "After a long time, they found it {where}.", "At last {f} saw something shine {where}. It was the {thing}!"),
            r("\"Thank you!\" said {n}. \"You are a true friend.\"", "{n} was so happy that {he} danced.", "{n} hugged {f} and said, \"Thank you so much!\"")]


def fear(v, r):
    return [r("{n} was afraid of {fear}.", "There was only one thing {n} did not like: {fear}.", "{n} was brave, but {he} was afraid of {fear}."),
            r("All the others laughed about it.", "Nobody knew about it.", "So {n} often stayed at home."),
            r("One day, {n} heard someone call for help.", "One evening, a small voice cried, \"Help! Help!\""),
            r("It was {f}, {a_friend}, who was stuck {where}.", "{f}, {a_friend}, had fallen down {where} and could not get up."),
            r("{n} was scared, but {he} thought of {f}.", "\"I am afraid,\" thought {n}, \"but {f} needs me.\""),
            r("{n} took a deep breath and ran to help.", "So {n} closed {poss} eyes, counted to three and went."),
            r("{n} pulled and pulled until {f} was free.", "Step by step, {n} helped {f} out."),
            r("\"You are so brave!\" said {f}.", "\"Thank you, {n}. You saved me,\" said {f}."),
            r("{n} smiled. {fear_cap} did not seem so bad any more.", "After that, {n} was not so afraid of {fear} any more.")]


def share(v, r):
    return [r("One day, {n} had {a_food}.", "{n} had made {a_food} and wanted to eat it.", "For lunch, {n} had {a_food}."),
            r("It smelled very good.", "It was still warm.", "\"This is all for me,\" thought {n}."),
            r("Then {f}, {a_friend}, came along the path.", "Then {a_friend} named {f} knocked at the door."),
            r("\"I am so hungry,\" said {f}. \"I have not eaten all day.\"", "{f} looked tired and hungry."),
            r("{n} looked at the food and thought for a while.", "At first, {n} did not want to share."),
            r("\"Come and sit down,\" said {n}. \"We can share it.\"", "Then {n} cut it in two and gave one half to {f}."),
            r("They ate together and told each other stories.", "They ate and laughed until the stars came out."),
            r("\"Food tastes better with a friend,\" said {n}.", "\"You are very kind,\" said {f}. \"Next time I will cook for you.\"")]


def wish(v, r):
    return [r("{n} had one big wish: {he} wanted to {dream}.", "More than anything, {n} wanted to {dream}.", "Every night, {n} dreamed that {he} could {dream}."),
            r("\"You are too small for that,\" said {f}, {a_friend}.", "\"Nobody here can do that,\" said {f}, {a_friend}."),
            r("But {n} did not give up.", "{n} was sad, but {he} wanted to try."),
            r("{n} tried on Monday and fell down. {n} tried on Tuesday and fell down again.", "{n} tried again and again, day after day.", "The first time it went wrong. The second time it went wrong, too."),
            r("{f} came to watch and began to help.", "After a while, {f} said, \"Let me help you.\""),
            r("And then, one fine morning, it worked!", "At last, on a sunny day, {n} did it!"),
            r("\"I did it!\" cried {n}. \"I can {dream}!\"", "Everyone cheered and clapped."),
            r("\"You only had to keep trying,\" said {f}.", "\"I was wrong,\" said {f}. \"You can do anything.\"")]


def journey(v, r):
    return [r("One day, {n} found {a_thing} {where}.", "One morning, {n} saw {a_thing} lying {where}."),
            r("\"Who does this belong to?\" {he} asked.", "\"What a nice {thing}!\" said {n}. \"Someone must be missing it.\""),
            r("So {n} went to {f}, {a_friend}, and asked, \"Is this yours?\"", "{n} asked {a_friend} named {f}, \"Is this your {thing}?\""),
            r("\"No,\" said {f}, \"but I will come with you.\"", "\"It is not mine,\" said {f}, \"but we can ask together.\""),
            r("They walked over the hill and through the woods.", "They walked all day long, over stones and streams."),
            r("In the evening they met an old woman who was looking for something.", "At last they met a child who was crying."),
            r("\"My {thing}! You have found my {thing}!\"", "\"That is mine! I have looked for it all day!\""),
            r("{n} gave it back at once.", "\"Here you are,\" said {n}, and gave it back."),
            r("\"You are honest and kind,\" they heard, and they each got a piece of cake.", "As a thank you, {n} and {f} got a big cup of hot chocolate.")]


def storm(v, r):
    return [r("One night, a great storm came.", "One day, dark clouds came and it began to rain very hard."),
            r("The wind blew the roof off {poss} house.", "The wind broke {poss} little house, and the rain came in."),
            r("\"Where shall I go now?\" cried {n}.", "{n} was wet and cold and had no place to sleep."),
            r("Then {n} saw a small light. It was the house of {f}, {a_friend}.", "{n} knocked at the door of {f}, {a_friend}."),
            r("\"Come in, come in!\" said {f}. \"There is room for two.\"", "\"You can stay here,\" said {f}, and gave {n} a warm blanket."),
            r("They drank warm milk and listened to the rain.", "They sat by the fire and told stories until morning."),
            r("The next day the sun was shining, and together they built a new house.", "When the storm was over, {f} helped {n} to build a stronger house."),
            r("\"A storm is not so bad when you have a friend,\" said {n}.", "\"Thank you,\" said {n}. \"My door will always be open for you.\"")]


def visit(v, r):
    return [r("{n} was alone and had nobody to talk to.", "Every day was the same for {n}, and {he} felt lonely.", "{n} had no friends yet."),
            r("\"I will go and look for a friend,\" said {n}.", "So one day {n} set out to find a friend."),
            r("First {n} met a big stone, but the stone did not say a word.", "First {n} asked the wind, but the wind had no time."),
            r("Then {n} asked the river, but the river ran away.", "Then {n} asked the moon, but the moon was too far away."),
            r("{n} sat down {where} and sighed.", "Tired, {n} sat down {where}."),
            r("\"Why do you sigh?\" asked a voice. It was {f}, {a_friend}.", "\"Hello,\" said someone. It was {f}, {a_friend}."),
            r("\"I am looking for a friend,\" said {n}.", "\"Nobody wants to play with me,\" said {n}."),
            r("\"So am I!\" said {f}.", "\"I want to play with you,\" said {f}."),
            r("They played until the sun went down.", "From morning to evening, {n} and {f} played together.")]


def gift(v, r):
    return [r("Tomorrow was the birthday of {f}, {a_friend}.", "{n} had a good friend, {f}, {a_friend}, and it was {f}'s birthday."),
            r("{n} wanted to give {f} {a_thing}, but {he} had no money.", "{n} wished to make a present, but what?"),
            r("{n} thought and thought.", "All night {n} could not sleep."),
            r("Then {n} had an idea.", "In the morning, {n} knew what to do."),
            r("{n} went to look {where} and found {a_thing}.", "With {poss} own hands, {n} made {a_thing}."),
            r("{n} put it in a box and ran to {f}.", "{n} brought it to {f} and sang a song."),
            r("\"{a_thing_cap}! That is just what I wanted!\" cried {f}.", "\"What a lovely {thing}!\" said {f}."),
            r("\"The best thing is that you thought of me,\" said {f}.", "{f} hugged {n} for a long time.")]


def secret(v, r):
    return [r("One day, {n} found a little door {where}.", "Behind the house of {n} there was a small door that nobody ever opened."),
            r("{n} wanted to know what was behind it.", "{n} was very curious."),
            r("\"Do not go in there,\" said {f}, {a_friend}.", "\"What if there is a monster?\" asked {f}, {a_friend}."),
            r("But {n} took the hand of {f}, and they opened the door together.", "\"Come with me,\" said {n}, and they opened the door."),
            r("Inside there was a garden full of flowers and light.", "Behind it they saw a room full of toys and books."),
            r("In the middle lay {a_thing}.", "There, on a table, was {a_thing}."),
            r("\"It is the most beautiful place in the world,\" said {f}.", "\"Let us come here every day,\" said {n}."),
            r("It became the secret place of {n} and {f}.", "{n} and {f} never told anyone about it.")]


def helper(v, r):
    return [r("One cold day, {n} heard someone crying {where}.", "On the way home, {n} heard a small voice {where}."),
            r("It was {f}, {a_friend}.", "There sat {f}, {a_friend}, and cried."),
            r("\"I cannot find the way home,\" said {f}.", "\"I am lost,\" said {f}, \"and it is getting dark.\""),
            r("\"Come with me,\" said {n}. \"I will bring you home.\"", "\"Do not cry,\" said {n}. \"We will find it together.\""),
            r("They asked the owl, and the owl showed them the way.", "They followed the river until they saw a light."),
            r("The night was dark, but {n} sang a song, and {f} was not afraid.", "{n} told a funny story, and {f} began to laugh."),
            r("At last they came to the house of {f}.", "Soon they saw the little house of {f}."),
            r("\"Thank you, {n}!\" said {f}. \"Will you come again?\"", "The mother of {f} gave {n} {a_food}.")]


def contest(v, r):
    return [r("One day, all the animals had a race.", "There was a big race in the village.", "{n} was slow, and the others laughed."),
            r("\"I am the fastest of all,\" said {f}, {a_friend}.", "{f}, {a_friend}, was sure to win."),
            r("{n} was not fast, but {he} never gave up.", "\"I will do my best,\" said {n}."),
            r("They all began to run. {f} was far ahead.", "One, two, three, and off they went!"),
            r("Then {f} fell and hurt a foot.", "But {f} was so sure that {f} lay down to sleep {where}."),
            r("{n} stopped. \"Can I help you?\" asked {n}.", "{n} came by and woke {f}. \"Come, let us run together,\" said {n}."),
            r("Together they came to the end, and everyone cheered.", "Side by side they crossed the line."),
            r("\"You are the real winner,\" said {f}.", "\"It is more fun with a friend,\" said {n}.")]


def sleepless(v, r):
    return [r("{n} could not sleep.", "It was night, but {n} was wide awake.", "Night after night, {n} lay awake."),
            r("{n} turned to the left and turned to the right.", "{n} counted to one hundred, but it did not help."),
            r("So {n} got up and went outside.", "At last {n} got up and looked at the stars."),
            r("There sat {f}, {a_friend}, {where}.", "Outside {n} met {f}, {a_friend}."),
            r("\"I cannot sleep,\" said {n}. \"Nor can I,\" said {f}.", "\"Why are you awake?\" asked {f}. \"I do not know,\" said {n}."),
            r("They looked at the moon and talked about the day.", "{f} sang a quiet song about the sea."),
            r("Slowly, {n} became sleepy.", "The eyes of {n} became small."),
            r("\"Good night,\" said {f}, and {n} was already asleep.", "{n} went back to bed and slept until the sun came up.")]


PLOTS = [visit, gift, secret, helper, contest, sleepless, lost, fear, share, wish, journey, storm]
DREAMS = ["fly over the hills", "swim across the lake", "sing a song for everyone", "climb the highest tree", "dance on one leg", "see the sea", "bake a cake", "count all the stars", "build a boat", "jump over the moon"]
WHERE = ["under a big leaf", "behind an old tree", "in the tall grass", "near the well", "under the bridge", "between two stones", "beside the path", "in a hollow log"]


def cast(rng):
    """The words that a story is filled with, and whom and what it is about."""
    hero = rng.choice(PEOPLE if rng.random() < 0.25 else HEROES)
    friend = rng.choice([h for h in (PEOPLE if rng.random() < 0.2 else HEROES) if h != hero])
    female = hero in FEMALE or (hero not in MALE and rng.random() < 0.5)
    n = names.hero(rng, female)
    f = names.hero(rng, friend in FEMALE or (friend not in MALE and rng.random() < 0.5))
    while f == n:
        f = names.hero(rng, rng.random() < 0.5)
    thing, fear_ = rng.choice(THINGS), rng.choice(FEARS)
    trait = rng.choice(TRAITS)
    v = dict(n=n, f=f, thing=thing, a_thing=a(thing), a_thing_cap=cap(a(thing)), a_food=a(rng.choice(FOODS)), fear=fear_, fear_cap=cap(fear_),
             dream=rng.choice(DREAMS), where=rng.choice(WHERE), he="she" if female else "he", poss="her" if female else "his",
             a_friend=a(rng.choice(["kind", "old", "clever", "friendly", "small", "big", "wise", "little", "young", "funny"]) + " " + friend))
    return v, hero, trait, friend, rng.choice(PLACES)


def tell(rng, v, lines):
    """Fills the lines in two paragraphs."""
    cut = len(lines) // 2
    text = (" ".join(lines[:cut]) + "\n\n" + " ".join(lines[cut:])).format(**v)
    return re.sub(r"(^|[.!?]\"? |\n)(he|she)\b", lambda m: m.group(1) + cap(m.group(2)), text).strip()


def tale(rng):
    """A story and what a request may name: (text, hero noun, trait, place, thing or None, name, friend noun)."""
    v, hero, trait, friend, place = cast(rng)
    who = a(trait + " " + hero)
    start = rng.choice(["Once upon a time, there was {w} named {n} who lived {p}.", "Once there was {w} called {n}. {n} lived {p}.",
                        "{P} lived {w} named {n}.", "There once was {w} named {n}, who lived {p}.", "Once upon a time, {w} called {n} lived {p}.",
                        "This is the story of {n}, {w} who lived {p}.", "A long time ago, {w} named {n} lived {p}."])
    lines = [start.format(w=who, n=v["n"], p=place, P=cap(place))]
    if rng.random() < 0.3:
        lines.append(rng.choice(WEATHER))
    lines += rng.choice(PLOTS)(v, lambda *options: rng.choice(options))
    if rng.random() < 0.7:
        lines.append(rng.choice(MORALS))
    text = tell(rng, v, lines)
    return text, hero, trait, place, v["thing"] if v["thing"] in text else None, v["n"], friend


ASK = """Tell me a story about {x}.|Tell me a story about {x}.|Tell me a story about {x}|Can you tell me a story about {x}?|I want a story about {x}.|Please tell me a short story about {x}.|Make up a story about {x}.|
Write a story about {x}.|A story about {x}, please.|Write a short story about {x}|Do you know a story about {x}?|story about {x}|Tell me a bedtime story about {x}.|Could you tell me a story about {x}?|Tell a story about {x}.|
Can you make up a story about {x}?|I would like a story about {x}.|I'd like to hear a story about {x}.|Tell me something about {x}, a story.|A short story about {x}!|A tale about {x}, please.|Tell me a tale of {x}.|
Write me a little story about {x}.|Give me a story with {x}.|Tell me a story with {x} in it.|A bedtime story about {x}?|Invent a story about {x}.|Let us hear a story about {x}.|Tell us a story about {x}.|
My child wants a story about {x}.|Would you tell me a story about {x}?|I need a story about {x}.|Think of a story about {x}.|once upon a time, {x}|Tell a bedtime story about {x}.|Can I have a story with {x}?""".replace("\n", "").split("|")
ANY = """Tell me a story.|Can you tell me a story?|Tell me a story|I want to hear a story.|Please tell me a bedtime story.|a story please|Do you know a story?|Tell me a short story.|Tell me another story.|I would like a story|
story time!|Tell me something nice, a story.|Make up a story.|Write a story.|Tell a story!|One more story|Another story, please.|Tell me a fairy tale.|A bedtime story?|Tell us a story.|Read me a story.|
I cannot sleep, tell me a story.|Can I hear a story?|Surprise me with a story.""".replace("\n", "").split("|")


def request(rng):
    """(question, story): the question names none, one or two parts of the story."""
    text, hero, trait, place, thing, name, friend = tale(rng)
    kind = rng.random()
    if kind < 0.1:
        return vary(rng, rng.choice(ANY), command=True), text
    x = a(hero)
    if kind > 0.92:
        x = f"{a(hero)} who lives {place}"
    elif kind > 0.8 and thing:
        x = a(thing)
    elif kind > 0.68:
        x = f"{a(hero)} and {a(friend)}"
    elif kind > 0.58:
        x = f"{a(hero)} named {name}"
    elif kind > 0.46:
        x = a(f"{trait} {hero}")
    elif kind > 0.43:
        x = f"{a(friend)} and {a(hero)}"
    return vary(rng, rng.choice(ASK).format(x=x), command=True), text


OPENINGS = """One day, {w} {named}found {a_thing} {where}.|Once upon a time there was {w} {named}who wanted to {dream}.|There was once {w} {named}who was afraid of {fear}.|One morning, {w} {named}woke up very early.|
{w} {named}lived {place}.|It was dark, and {w} {named}was alone.|The rain fell, and {h} sat at the window.|Once there was {w} {named}who could not {dream}.|One night, {w} {named}heard a strange noise.|
{w} {named}lost {a_thing} {where}.|Long ago, {w} {named}went on a long journey.|One winter day, {w} {named}saw a light {where}.|{h} was sad because {a_thing} was gone.|In the middle of the night, {w} {named}stood {where}.|
Once upon a time, {w} {named}got {a_thing} as a present.|One day, {w} {named}opened a secret door {where}.|{h} had never seen the sea.|The sun was shining, and {h} went for a walk.|There was {w} {named}who never laughed.|
One day, {w} {named}met {a_friend} {where}.|{h} had a big secret.|Every evening, {w} {named}looked at the stars.|{h} was hungry and had nothing to eat.|The storm was loud and {h} was scared.|
The {noun} was {adjective} and {h} was {feeling}.|It was a {adjective} day, and {h} was {feeling}.|{h} was {feeling}, for the {noun} was {adjective}.""".replace("\n", "").split("|")
MIDDLES = [
    ["{h} did not know what to do.", "{h} looked around and thought for a while.", "\"What now?\" asked {h}.", "{h} was very curious."],
    ["Just then, {a_friend} named {f} came by.", "Then {f}, {a_friend}, came along the path.", "Suddenly {a_friend} stood there. \"My name is {f},\" it said."],
    ["\"Hello, {h2}! Can I help you?\" asked {f}.", "\"What is the matter?\" asked {f}.", "\"You look sad, {h2},\" said {f}."],
    ["{h} told {f} everything.", "\"I do not know what to do,\" said {h}.", "\"I need a friend,\" said {h}."],
    ["\"Do not worry,\" said {f}. \"Two can do more than one.\"", "\"Come with me,\" said {f}. \"I have an idea.\"", "\"I know someone who can help,\" said {f}."],
    ["So {h} and {f} went over the hill and through the woods.", "Together, {h} and {f} walked all day long.", "{h} and {f} worked until the sun went down."],
    ["And in the end, everything was good again.", "At last they found what they were looking for.", "It was not easy, but they did it."],
    ["\"Thank you, {f},\" said {h}. \"You are a true friend.\"", "{h} laughed and danced, and {f} danced along.", "{h} was happy and gave {f} {a_food}."],
    ["And from that day on, {h} and {f} were best friends.", "That night, {h} slept well and had sweet dreams.", "And they lived happily ever after.", "{h} never forgot that day."]]
CONTINUE = ["Continue this story: {s}", "Continue this story: {s}", "Continue the story: {s}", "Please continue: {s}", "Continue: {s}", "How does this story go on? {s}", "Finish this story: {s}", "Finish my story: {s}", "{s}", "Go on with this: {s}", "What happens next? {s}", "Here is a story: {s} Please go on.", "Continue my story, please: {s}", "I begin a story and you go on: {s}", "Can you continue this? {s}"]


def continuation(rng):
    """(first sentences, how they go on): the hero of the user's sentence stays the hero."""
    if rng.random() < 0.35:
        text = tale(rng)[0].replace("\n\n", " ")
        sentences = re.split(r"(?<=[.!?]) (?=[A-Z])|(?<=[.!?]\") (?=[A-Z])", text)
        k = rng.choice([1, 1, 2, 3])
        return ask_on(rng, " ".join(sentences[:k])), " ".join(sentences[k:])
    v, hero, trait, friend, place = cast(rng)
    named = rng.random() < 0.65
    plain = rng.random() < 0.3
    v["h"] = v["h2"] = v["n"]
    kind = hero if plain else f"{trait} {hero}"
    if named:
        v.update(w=a(kind), named=rng.choice([f"named {v['n']} ", f"called {v['n']} "]), H=v["n"])
    else:
        v.update(w=a(kind), named="", h="the " + hero, h2="little " + hero)
    v.update(place=place, noun=rng.choice("night day snow sea road rain sun house forest storm".split()),
             adjective=rng.choice("cold long dark deep warm empty wet bright quiet".split()),
             feeling=rng.choice("hungry happy tired alone cold sad curious sleepy bored".split()))
    sentence = lambda s: cap(re.sub(r"([.!?] )([a-z])", lambda m: m.group(1) + m.group(2).upper(), s.format(**v)))
    first = sentence(rng.choice(OPENINGS))
    lines = [sentence(rng.choice(m)) for i, m in enumerate(MIDDLES) if i in (1, 8) or rng.random() < 0.85]
    cut = len(lines) // 2
    return ask_on(rng, first), " ".join(lines[:cut]) + "\n\n" + " ".join(lines[cut:])


def ask_on(rng, opening: str) -> str:
    """The opening inside a request; the story's own words stay as they are."""
    return rng.choice(CONTINUE).format(s=opening)
