"""Short stories from a grammar, with requests that name what the story is about.

They teach what a corpus of stories alone does not: that the story told is the story asked for (the hero, the place
or the thing of the request comes back in it), and that a story has a problem, an attempt, an end and then stops.
"""

import re

NAMES = "Tom Lily Ben Mia Sam Anna Max Lucy Tim Rosie Jack Emma Leo Nora Finn Ella Oscar Ruby Hugo Ida Bruno Clara Otto Pip Molly Fred Greta Toby Wendy Alma Kit Nell Milo Zoe Theo".split()
GIRLS = "Lily Mia Anna Lucy Rosie Emma Nora Ella Ruby Ida Clara Molly Greta Wendy Alma Nell Zoe".split()
HEROES = "fox bear rabbit mouse cat dog duck frog owl bird fish bee tern horse pig lamb squirrel hedgehog turtle lion elephant monkey penguin wolf deer dragon robot goat hen snail butterfly".split()
PEOPLE = "boy girl king queen princess prince wizard farmer baker sailor knight child".split()
PLACES = ["in a quiet forest", "near a blue lake", "on a small farm", "by the sea", "in a green valley", "in a big garden", "at the edge of a village", "on a little island", "in an old castle", "on a high hill"]
THINGS = "red ball|golden key|little boat|shiny stone|blue kite|old book|small drum|warm scarf|silver bell|wooden sword|yellow hat|magic lamp|green apple|glass marble|paper star|tiny seed|big balloon|lost letter".split("|")
FOODS = "honey cake|apple pie|bowl of soup|loaf of bread|basket of berries|piece of cheese|jar of jam|plate of pancakes".split("|")
TRAITS = "little small young brave kind curious shy happy clever lazy lonely hungry proud gentle".split()
FEARS = ["the dark", "the deep water", "thunder", "high places", "the big wind", "strangers", "loud noises"]
WEATHER = ["It was a warm and sunny day.", "The rain had just stopped.", "Snow lay on the ground.", "The wind was blowing.", "It was early in the morning.", "The sun was going down."]
MORALS = ["And from that day on, they were best friends.", "And they lived happily ever after.", "It had been a very good day.", "That night, {n} slept well and had sweet dreams.", "{n} never forgot that day.", "And everyone was happy.", "From then on, {n} was never alone again."]


def a(noun):
    return ("an " if noun[0] in "aeiou" else "a ") + noun


def strip_ly(s):
    return re.sub(r"\b([Aa]) ([aeiou])", r"\1n \2", s)


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


PLOTS = [lost, fear, share, wish, journey, storm]
DREAMS = ["fly over the hills", "swim across the lake", "sing a song for everyone", "climb the highest tree", "dance on one leg", "see the sea", "bake a cake", "count all the stars", "build a boat", "jump over the moon"]
WHERE = ["under a big leaf", "behind an old tree", "in the tall grass", "near the well", "under the bridge", "between two stones", "beside the path", "in a hollow log"]


def tale(rng):
    """A story and what a request may name: (text, hero noun, place or None, thing or None)."""
    person = rng.random() < 0.25
    hero = rng.choice(PEOPLE if person else HEROES)
    friend = rng.choice([h for h in HEROES if h != hero])
    n, f = rng.sample(NAMES, 2)
    while (n in GIRLS and hero in ("boy", "king", "prince", "wizard")) or (n not in GIRLS and hero in ("girl", "queen", "princess", "hen")):
        n = rng.choice([x for x in NAMES if x != f])
    female = n in GIRLS
    trait, place, thing, fear_ = rng.choice(TRAITS), rng.choice(PLACES), rng.choice(THINGS), rng.choice(FEARS)
    v = dict(n=n, f=f, thing=thing, a_thing=a(thing), food="food", a_food=a(rng.choice(FOODS)), fear=fear_,
             fear_cap=fear_[0].upper() + fear_[1:], dream=rng.choice(DREAMS), where=rng.choice(WHERE),
             a_friend=a(rng.choice(["kind", "old", "clever", "friendly", "small", "big", "wise"]) + " " + friend),
             he="she" if female else "he", poss="her" if female else "his")
    plot = rng.choice(PLOTS)
    who = a(trait + " " + hero)
    start = rng.choice(["Once upon a time, there was {w} named {n} who lived {p}.", "Once there was {w} called {n}. {n} lived {p}.",
                        "{P} lived {w} named {n}.", "There once was {w} named {n}, who lived {p}."])
    start = start.format(w=who, n=n, p=place, P=place[0].upper() + place[1:])
    lines = [start]
    if rng.random() < 0.4:
        lines.append(rng.choice(WEATHER))
    lines += plot(v, lambda *options: rng.choice(options))
    if rng.random() < 0.7:
        lines.append(rng.choice(MORALS))
    cut = len(lines) // 2
    text = " ".join(lines[:cut]) + "\n\n" + " ".join(lines[cut:])
    text = text.format(**v)
    text = re.sub(r"(^|[.!?]\"? |\n)(he|she)\b", lambda m: m.group(1) + m.group(2).capitalize(), text)
    used_thing = thing if thing in text else None
    return text, hero, place, used_thing, n, friend


def request(rng):
    """(question, story): the question names none, one or two parts of the story."""
    text, hero, place, thing, name, friend = tale(rng)
    ask = rng.choice(["Tell me a story about {x}.", "Can you tell me a story about {x}?", "tell me a story about {x}", "I want a story about {x}.", "Please tell me a short story about {x}.", "Make up a story about {x}.", "Write a story about {x}.", "A story about {x}, please.", "Write a short story about {x}", "Do you know a story about {x}?", "story about {x}"])
    kind = rng.random()
    if kind < 0.15:
        return rng.choice(["Tell me a story.", "Can you tell me a story?", "Tell me a story", "I want to hear a story.", "Please tell me a bedtime story.", "a story please", "Do you know a story?", "Tell me a short story.", "Tell me another story.", "I would like a story", "story time!"]), text
    if kind < 0.62:
        x = a(hero)
    elif kind < 0.72:
        x = f"{a(hero)} named {name}"
    elif kind < 0.84:
        x = f"{a(hero)} and {a(friend)}"
    elif kind < 0.92 and thing:
        x = a(thing)
    else:
        x = f"{a(hero)} who lives {place}"
    return ask.format(x=x), text
