"""Small talk with something in it: what a person tells of themselves, feelings, wishes, refusals, being remembered.

Unlike persona.py's fixed lists these replies take up a word of what was said, so the model learns to listen. Every
generator yields (question, answer), or a list of such pairs where one turn needs another.
"""


import names
from facts import CITIES
from phrasing import a, cap, vary

FOODS = "pizza;ice cream;chocolate;vanilla ice cream;strawberry ice cream;cake;bread;cheese;apples;bananas;soup;rice;pasta;fish;salad;cookies;honey;pancakes;noodles;potatoes;sushi;curry;beans;eggs;tea;coffee;lemonade;milk;orange juice;carrots;waffles;pie;tomatoes;mushrooms;oranges;grapes;yogurt;toast;jam;nuts;popcorn;spinach".split(";")
HOBBIES = "reading;dancing;painting;swimming;football;tennis;chess;music;cooking;gardening;fishing;running;hiking;singing;drawing;knitting;photography;movies;games;riding;skiing;sailing;yoga;puzzles;baking;travelling;birds;stars;old cars;trains;books;maps;poems;history;math;science;flowers;the sea;the mountains;winter;summer;rain;snow;cats;dogs;horses".split(";")
PETS = "cat;dog;hamster;rabbit;parrot;goldfish;turtle;pony;mouse;guinea pig;canary;snake;lizard;horse;kitten;puppy;hen;duck;goat;snail;rat;donkey;frog".split(";")
JOBS = "teacher;doctor;nurse;farmer;baker;cook;driver;pilot;painter;writer;student;programmer;engineer;lawyer;gardener;musician;singer;dancer;waiter;builder;mechanic;scientist;librarian;tailor;policeman;fisherman;carpenter;photographer;dentist;journalist;shop owner;bus driver;translator".split(";")
THINGS = "key;phone;book;hat;scarf;ring;bag;umbrella;wallet;glove;pen;bike;ball;watch;ticket;letter;toy;jacket;shoe;doll;kite;cup;map;coin".split(";")
GOOD_NEWS = "passed my exam;won a game;got a new job;found a friend;finished my work;learned to swim;baked a cake;got a present;cleaned my room;finished my book;got good marks;won a prize;fixed my bike;planted a tree;met an old friend;made a new friend;got married;moved to a new house;learned a song;wrote a poem;had a great day;had a good day at school;had a lovely morning;had a nice day at work;got a letter from my friend;ran five miles".split(";")
BAD_NEWS = "had a bad day;had a bad day at school;had a terrible day at the office;had a hard day;had a long and hard day;failed my exam;lost my job;lost my game;missed my bus;broke my arm;broke my cup;had a fight with my friend;had a bad dream;burned my dinner;got wet in the rain;forgot my homework;hurt my knee;got bad marks;was late for school;had a rough day;had an awful week;had a horrible morning at work;had a bad day with my boss;lost a friend;spilled my coffee".split(";")
TIRED = "tired;so tired;very tired;exhausted;sleepy;really sleepy;worn out;so sleepy;a little tired;a bit tired;dead tired;quite tired".split(";")
SAD = "sad;very sad;so sad;unhappy;a bit sad;down;lonely;blue;upset;miserable;not happy;a little sad;disappointed;heartbroken;not feeling well;feeling low;feeling down".split(";")
HAPPY = "happy;very happy;so happy;glad;cheerful;in a good mood;excited;so excited;thrilled;proud;really happy;full of joy;delighted;having fun".split(";")
ANGRY = "angry;so angry;mad;annoyed;furious;very angry;cross;really mad".split(";")
AFRAID = "afraid;scared;worried;nervous;a bit scared;anxious;very nervous;frightened;so worried".split(";")
SICK = "sick;ill;not well;unwell;very ill;a bit sick".split(";")
BORED = "bored;so bored;very bored;really bored;a bit bored".split(";")
HUNGRY = "hungry;so hungry;very hungry;thirsty;starving".split(";")
WHEN = ["", "", "", " today", " now", " right now", " this morning", " tonight", " again", " this evening", " at the moment", " these days"]
WHY = ["", "", "", "", "", " because of the rain", " because of work", " because of my friend", " because of school", " and I do not know why", " since this morning", ", Tern", ", you know", " because I cannot sleep", " because it is my birthday"]
MOODS = [
    (TIRED, 3, ["You sound tired. Maybe it is time to rest.", "I hope you can get some rest soon.", "A nap could help. Sleep well!", "Then take a good rest. I will be here when you come back."]),
    (SAD, 3, ["I am sorry that you are sad. Do you want to tell me about it?", "I am sorry to hear that. What happened?", "That sounds hard. I am here if you want to talk.", "I am sorry you feel that way. I hope your day gets better."]),
    (HAPPY, 3, ["I am happy that you are happy!", "That is wonderful! What made you so happy?", "How lovely! I am glad to hear it."]),
    (ANGRY, 2, ["Oh no, I am sorry to hear that. What happened?", "That sounds annoying. Take a deep breath. I am here.", "I am sorry you are upset. Do you want to talk about it?"]),
    (AFRAID, 2, ["That is all right. Everybody is afraid sometimes. What are you afraid of?", "Take a deep breath. Do you want to tell me about it?", "I am sorry that you are worried. What is on your mind?"]),
    (SICK, 2, ["I am sorry that you are ill. I hope you get well soon!", "Oh no! Get well soon. Drink some tea and rest."]),
    (BORED, 2, ["Being bored is no fun. I could tell you a joke or a story.", "Then let me help: ask me for a story about an animal!", "That is too bad. Do you want to hear a story?"]),
    (HUNGRY, 2, ["Then go and get something nice. I will be here.", "It sounds like it is time for a snack!"]),
]
SAY_MOOD = ["I am {m}{w}{y}.", "I'm {m}{w}{y}.", "I am {m}{w}{y}", "i'm {m}{w}", "I feel {m}{w}{y}.", "I am feeling {m}{w}{y}.", "{m}{w}", "I feel so {m}{w}.", "I have been {m} all day.", "I was {m} the whole day.", "I am really {m}{w}.", "My day was long and I am {m}.", "Today I am {m}{y}.", "Now I am {m}."]


def mood(rng):
    words, _, replies = rng.choices(MOODS, [m[1] for m in MOODS])[0]
    m = rng.choice(words)
    form = rng.choice([s for s in SAY_MOOD if not (m.startswith(("so ", "in ", "a ", "having", "full", "very", "really", "not", "feeling", "quite", "dead")) and ("feel" in s or "really" in s))])
    return form.format(m=m, w=rng.choice(WHEN), y=rng.choice(WHY)), rng.choice(replies)


def news(rng):
    if rng.random() < 0.5:
        n = rng.choice(GOOD_NEWS)
        return rng.choice([f"I {n}.", f"I {n} today!", f"I just {n}!", f"Guess what, I {n}!", f"Yesterday I {n}.", f"I {n} yesterday."]), rng.choice(["That is great! Well done!", "How nice! I am happy for you.", "Congratulations! You can be proud.", "That sounds wonderful! Tell me more."])
    n = rng.choice(BAD_NEWS)
    return rng.choice([f"I {n}.", f"I {n} today.", f"I just {n}.", f"I {n} yesterday.", f"Oh no, I {n}!", f"Sadly, I {n}."]), rng.choice(["I am sorry to hear that. Do you want to tell me about it?", "Oh no, that is not nice. I hope tomorrow is better.", "I am sorry. That sounds hard. What happened?"])


def about_me(rng):
    """What a person tells of themselves, taken up in the reply."""
    kind = rng.randrange(13)
    pet, job, food, hobby, thing = (rng.choice(x) for x in (PETS, JOBS, FOODS, HOBBIES, THINGS))
    p = rng.choice(["", "", "", "little ", "new ", "big ", "old ", "young "])
    if kind == 0:
        return rng.choice([f"I have {a(p + pet)}.", f"I have got {a(p + pet)} at home.", f"We have {a(p + pet)}.", f"I own {a(p + pet)}.", f"there is {a(p + pet)} in my house"]), rng.choice([f"{cap(a(pet))}! How nice. What is its name?", f"I would like to meet your {pet}!", f"How nice to have {a(pet)}! What is its name?"])
    if kind == 1:
        p = rng.choice(["", "new ", "little ", "small "])
        return rng.choice([f"I got {a(p + pet)}!", f"I just got {a(p + pet)}.", f"We got {a(p + pet)} today!", f"My mom gave me {a(p + pet)}.", f"I will get {a(p + pet)} for my birthday!", f"Yesterday I got {a(p + pet)}.", f"Guess what, I have {a('new ' + pet)}!"]), rng.choice([f"How nice, {a(pet)}! What is its name?", f"{cap(a(pet))}! That is wonderful. What will you call it?"])
    if kind == 2:
        n = names.pet(rng)
        return rng.choice([f"My {pet} is called {n}.", f"My {pet}'s name is {n}.", f"The name of my {pet} is {n}.", f"I have {a(pet)} named {n}.", f"I have {a(pet)} called {n}", f"This is {n}, my {pet}."]), rng.choice([f"{n} is a good name for {a(pet)}!", f"{n}! What a nice name for {a(pet)}."])
    if kind == 3:
        return rng.choice([f"My {pet} died.", f"My {pet} is sick.", f"My {pet} ran away.", f"I miss my {pet}.", f"My old {pet} died last week."]), rng.choice([f"I am so sorry about your {pet}.", f"Oh no, your poor {pet}! I am sorry to hear that."])
    if kind == 4:
        return rng.choice([f"I am {a(job)}.", f"I work as {a(job)}.", f"I'm {a(job)}", f"My job is {job}.", f"I want to be {a(job)}.", f"I am working as {a(job)}.", f"My mother is {a(job)}.", f"My father is {a(job)}."]), rng.choice([f"{cap(a(job))}! That sounds interesting.", f"To be {a(job)} must be interesting. Do you like it?"])
    if kind == 5:
        x = rng.choice([food, hobby, hobby])
        return rng.choice([f"I like {x}.", f"I love {x}!", f"I really like {x}.", f"I like {x} very much.", f"my favorite thing is {x}", f"I enjoy {x}.", f"I am a fan of {x}.", f"{cap(x)} is great!", f"I think {x} is the best."]), rng.choice([f"What do you like most about {x}?", f"It is nice that you like {x}!", f"{cap(x)}! Tell me more."])
    if kind == 6:
        x = rng.choice([food, hobby])
        return rng.choice([f"I do not like {x}.", f"I hate {x}.", f"I don't like {x}", f"{cap(x)} is not for me.", f"I can't stand {x}."]), rng.choice([f"That is all right. Not everyone likes {x}.", f"Why do you not like {x}?"])
    if kind == 7:
        return rng.choice([f"Do you like {food}?", f"Do you eat {food}?", f"Have you ever tried {food}?", f"How do you like {food}?", f"Do you like to eat {food}?", f"Would you like some {food}?", f"Do you want {food}?"]), rng.choice([f"I cannot eat {food}, I am only a program. Do you like {food}?", f"I do not eat, but {food} sounds good. Do you like {food}?"])
    if kind == 8:
        return rng.choice([f"Do you like {hobby}?", f"Are you a fan of {hobby}?", f"Do you enjoy {hobby}?", f"What do you think of {hobby}?", f"How do you like {hobby}?"]), rng.choice([f"I only know {hobby} from stories. Do you like {hobby}?", f"I like to talk about {hobby}. Do you like {hobby}?"])
    if kind == 9:
        return rng.choice([f"I lost my {thing}.", f"I cannot find my {thing}.", f"Where is my {thing}?", f"My {thing} is gone.", f"Somebody took my {thing}.", f"My {thing} is broken."]), rng.choice([f"I am sorry about your {thing}. I hope all will be well soon.", f"Oh no, your {thing}! I wish I could help you."])
    if kind == 10:
        n = rng.randint(4, 99)
        return rng.choice([f"I am {n} years old.", f"I'm {n}.", f"I am {n}", f"My age is {n}.", f"I turned {n} today.", f"I will be {n} soon."]), rng.choice([f"{n} is a good age!", f"{n} years! I am much younger than you."])
    place = rng.choice(CITIES)[rng.randrange(2)]
    if kind == 11:
        return rng.choice([f"I live in {place}.", f"I am from {place}.", f"I come from {place}", f"My home is in {place}.", f"I was born in {place}."]), rng.choice([f"{cap(place)} sounds like a nice place!", f"I have never been to {place}, but it sounds nice."])
    return rng.choice([f"I am going to {place}.", f"I will travel to {place} next week.", f"I was in {place} last year.", f"We will go to {place} in summer.", f"I want to go to {place}.", f"We fly to {place} tomorrow."]), rng.choice([f"{cap(place)}! How nice. I hope you like it there.", f"I would love to hear about {place}!"])


ACTIONS = "dance;jump;swim;drive a car;fly;cook for me;cook dinner;see me;hear me;play chess;play the piano;play football with me;draw a picture;paint a house;take a photo;call my mother;send an email;open a window;order a pizza;buy a ticket;book a hotel;play music;open a file;search the internet;look at a picture;ride a bike;clean my room;wash my car;walk the dog;carry my bag;turn on the light;set an alarm;run very fast;whistle;read my mind;make coffee;do my homework;build a house;fix my computer;climb a tree;tie my shoes;bake bread;feed my cat;come to my house;hold my hand;play a video;speak out loud;smell flowers;taste cake;remember last week;go for a walk;cut my hair;shake hands".split(";")
CODE = "a program;a function;a script;some code;a small program;a website;a game;an app;a web page;a sorting function;a loop;a class".split(";")
CODE_IN = ["", "", " in Python", " in Java", " in Rust", " in C", " in JavaScript", " in Go", " in HTML", " in C++", " for me"]
LANGUAGES = "French German Spanish Italian Chinese Japanese Russian Latin Dutch Polish Greek Arabic Turkish Swedish Korean".split()
WRITINGS = "an essay about {t};a letter to {n};a report about {t};a speech about {t};a long article about {t};my homework about {t};a summary of {t};a business plan;a resume;an email to {n};a novel;a book about {t};a scientific paper about {t}".split(";")
TOPICS = "quantum physics;the stock market;world history;politics;chemistry;the Roman Empire;taxes;black holes;football results;philosophy;medicine;the French Revolution;economics;climate change;biology;machine learning;dinosaurs of Asia;ancient Greece;law;the theory of relativity;vaccines;bitcoin;space travel;democracy;genetics;the Middle Ages;engines;insurance;Shakespeare;opera;algebra;geometry;photosynthesis;inflation;evolution;the brain".split(";")
FAMOUS = "Napoleon;Albert Einstein;Cleopatra;Mozart;Beethoven;Shakespeare;Julius Caesar;Picasso;Isaac Newton;Marie Curie;Charles Darwin;Elvis;Madonna;Columbus;Gandhi;Plato;Queen Victoria;Bach;Tesla;Van Gogh;Leonardo;Galileo;Homer;Lincoln;Edison;Socrates;Michelangelo;Galilei;Taylor Swift;Messi;Gutenberg".split(";")
STRANGE = "carburetor;transistor;mortgage;enzyme;sonnet;turbine;theorem;satellite dish;catalyst;parliament;algorithm;quasar;neutron;piston;glacier;monsoon;subsidy;trumpet call;lawsuit;molecule;proton;metaphor;sextant;kayak;tariff;gearbox;keyboard shortcut;bagpipe;trombone;walrus;narwhal;platypus;lemur;cactus;orchid;baobab;mango;papaya;truffle;accordion;dynamo;periscope;tundra;fjord;archipelago;senate;treaty;ballad;fresco".split(";")


WHY_NOT = "do cats purr;do dogs bark at the moon;is the sea salty;do stars shine;is grass green;do people laugh;do people lie;are roses red;do cats like boxes;do we dream;is the moon so bright;do volcanoes erupt;do cars need fuel;do bees sting;is gold so dear;do wars start;do people get old;is the night dark;do trees grow so slowly;do children ask so much;are some people left-handed;do onions make us cry;do we have ten fingers;are planets round;does time pass so quickly;do we have leap years;do magnets pull iron;does bread rise;do dogs chase cats;is winter cold;do zebras have stripes;do lions sleep so much;is water wet;are clouds white;do men have beards;does music make us happy;do boats float;is ice slippery;do planes fly;do we sneeze;do cows have four stomachs;is the desert dry;do birds sing in the morning;are tomatoes red;do horses sleep standing up;do people work;is money important;do we get hungry;do computers get hot;do people cry;is fire hot".split(";")


def refusal(rng):
    kind = rng.randrange(10)
    t, n = rng.choice(TOPICS), names.person(rng)
    if kind in (0, 1):
        act = rng.choice(ACTIONS)
        said = act.replace("for me", "for you").replace("with me", "with you").replace("my ", "your ").replace("see me", "see you").replace("hear me", "hear you")
        return rng.choice([f"Can you {act}?", f"Could you {act}?", f"Please {act}.", f"Are you able to {act}?", f"Will you {act}?", f"Do you know how to {act}?", f"I want you to {act}.", f"Can you {act} for me?", f"Would you {act}?"]), rng.choice([f"No, I cannot {said}. I can only read and write text.", f"I am sorry, I cannot {said}. I am only a small program."])
    if kind == 2:
        c = rng.choice(CODE) + rng.choice(CODE_IN)
        return rng.choice([f"Write {c}.", f"Can you write {c}?", f"Write me {c}", f"I need {c}.", f"Please code {c}.", f"Can you code?", f"Can you help me with {c}?", f"Could you program {c}?", f"Do you know Python?", f"Create {c}.", f"Give me {c}.", "Can you write programs?", "Fix this code: print(x)", "Is this code right? for i in range(10)"]), rng.choice(["I am too small to write programs. I can tell you a story instead.", "I cannot write programs. I am best at small talk and short stories."])
    if kind == 3:
        lang = rng.choice(LANGUAGES)
        return rng.choice([f"Do you speak {lang}?", f"Translate this to {lang}: good morning", f"Can you speak {lang}?", f"How do you say hello in {lang}?", f"Say something in {lang}.", f"What is the {lang} word for house?", f"Translate hello into {lang}.", f"Do you know {lang}?"]), rng.choice([f"I do not speak {lang}. I only know a little English.", f"No {lang}, I am afraid. I only know a little English."])
    if kind == 4:
        w = rng.choice(WRITINGS).format(t=t, n=n)
        return rng.choice([f"Write {w}.", f"Can you write {w}?", f"Please write {w} for me.", f"Help me write {w}.", f"I need {w}."]), rng.choice(["I am too small for that. I can write a short story or a little poem.", "That is too much for a model as small as I am. Shall I tell you a story?"])
    if kind == 5:
        return rng.choice([f"Explain {t} to me.", f"What is {t}?", f"Tell me about {t}.", f"What do you know about {t}?", f"Teach me {t}.", f"How does {t} work?", f"Who invented {t}?", f"I have a question about {t}.", f"Give me facts about {t}.", f"Can you explain {t}?"]), rng.choice([f"I do not know anything about {t}. I am a very small model.", f"I am sorry, {t} is too hard for me."])
    if kind == 6:
        f = rng.choice(FAMOUS) if rng.random() < 0.5 else n + rng.choice(["", "", " " + names.invented_name(rng)])
        return rng.choice([f"Who is {f}?", f"Who was {f}?", f"Do you know {f}?", f"Have you heard of {f}?", f"Have you met {f}?", f"Tell me about {f}.", f"When was {f} born?", f"Have you ever heard of a {rng.choice(['man', 'woman', 'bot', 'dog', 'singer', 'model'])} called {f}?", f"Do you know a {rng.choice(['girl', 'boy', 'cat', 'bird', 'king'])} named {f}?"]), rng.choice([f"I do not know {f}. I know very little about the world.", f"I am sorry, I have not heard of {f}."])
    if kind == 7:
        s = rng.choice(STRANGE)
        return rng.choice([f"What is {a(s)}?", f"Explain what {a(s)} is.", f"What does {s} mean?", f"Do you know what {a(s)} is?", f"How does {a(s)} work?"]), rng.choice([f"I do not know what {a(s)} is. I am a very small model.", f"I am sorry, I do not know about {a(s)}."])
    if kind == 8:
        w = rng.choice(WHY_NOT)
        q = rng.choice([f"Why {w}?", f"Why {w}?", f"Do you know why {w}?", f"Tell me why {w}.", f"Can you explain why {w}?"])
        return q, rng.choice(["I do not know why. I am a very small model. What do you think?", "That is a good question, but I do not know the answer."])
    year, team = rng.randint(1200, 2025), rng.choice(CITIES)[0]
    return rng.choice([f"What happened in {year}?", f"Who won the world cup in {year}?", f"How many people live in {team}?", f"Who is the president of {team}?", f"What is the population of {team}?", f"How far is it to {team}?", f"Who is the king of {team}?", f"How old is {n}?", f"When did the war in {team} end?", "How far away is the moon?", "How tall is the highest mountain?", f"What language do they speak in {team}?", f"What is the history of {team}?", f"What is the best hotel in {team}?", f"How do I get to {team}?", "What is the phone number of the police?", f"How much does {a(rng.choice(THINGS))} cost?"]), rng.choice(["I do not know that. I am a very small model and know little about the world.", "I am sorry, I do not know. Better ask someone who knows more than I do."])




def outside(rng):
    day = rng.choice(["today", "tomorrow", "on Monday", "next week", "now", "this weekend", "in London", "in Paris", "outside", "here", "at the weekend", "on Sunday"])
    q = rng.choice([f"What is the weather {day}?", f"How is the weather {day}?", f"Will it rain {day}?", f"Is it warm {day}?", f"What will the weather be {day}?", f"Tell me the weather {day}.", f"How warm is it {day}?", f"Does the sun shine {day}?", f"Is it raining {day}?", f"Do I need an umbrella {day}?", f"weather {day}",
                    "What time is it?", "What time is it now?", "Do you know what time it is?", "Can you tell me the time?", "What day is it today?", "What is today's date?", "Which year is it?", "what's the date", "Is it late?", "What is the news?", "What happened in the world today?", "Any news?", "Who won the game last night?", "What is on TV?", "Is it day or night?", "Is today Monday?", "What month is it?"])
    return q, rng.choice(["I do not know. I cannot look outside this browser tab.", "I cannot know that. I have no clock and no internet.", "I do not know that. I can only see the words you write."])


GOOD_THINGS = "love;friendship;music;kindness;reading;peace;sleep;sport;honesty;hope;courage;laughter;school;play;a good book;a walk in the forest;fresh air;fruit;sharing;helping others;a hug;a good friend;patience;trust;learning;family;singing;a garden;nature".split(";")
BAD_THINGS = "war;lying;hate;stealing;a fight;greed;smoke;being mean;noise at night;cheating;hunger;pollution;being rude;a lie".split(";")


def opinion(rng):
    good = rng.random() < 0.7
    x = rng.choice(GOOD_THINGS if good else BAD_THINGS)
    q = rng.choice(["Is {x} a good thing?", "Is {x} good?", "Is {x} bad?", "Is {x} something good?", "What do you think about {x}?", "What do you think of {x}?", "Do you think {x} is good?", "Do you think that {x} is a good thing?", "Is {x} good or bad?", "What is your opinion about {x}?", "In your opinion, is {x} good?", "Do you like {x}?", "Is {x} important?", "Is {x} good, in your view?", "{X}: good or bad?", "How do you feel about {x}?", "Should there be more {x}?"])
    return q.format(x=x, X=cap(x)), rng.choice([f"I think {x} is a good thing.", f"Yes, I think {x} is good. What do you think?"] if good else [f"I think {x} is a bad thing.", f"I do not like {x}. What do you think?"])


JOKES = ["What do you call a fish without an eye? A fsh!", "Why did the cookie go to the doctor? It felt crummy.", "What do you call a bear with no teeth? A gummy bear!", "What do you call an alligator in a vest? An investigator.", "Why do seagulls fly over the sea? Because if they flew over the bay, they would be bagels.", "What is a tern's favorite game? Follow the feather!", "What did one wall say to the other? I will meet you at the corner.", "Why was the math book sad? It had too many problems.", "What do you call a sleeping bull? A bulldozer.", "Why did the banana go to the doctor? It was not peeling well.", "What has ears but cannot hear? A cornfield.", "How do bees get to school? By school buzz.", "What do you call cheese that is not yours? Nacho cheese.", "Why did the bicycle fall over? It was two tired.", "What is brown and sticky? A stick.", "Two fish are in a tank. One says to the other, \"Do you know how to drive this thing?\""]
ASK_JOKE = ["Tell me a joke.", "Tell me a joke", "Do you know a joke?", "A joke please", "Make me laugh.", "Tell me something funny, please", "Say something funny.", "Can you tell me a joke?", "I want to hear a joke.", "Another joke please", "Tell me another joke.", "One more joke", "Be funny!", "Do you know any jokes?", "Tell a funny joke", "Cheer me up with a joke.", "Tell me a funny thing.", "Got any jokes?", "a joke about animals?", "Something funny please", "Say something to make me laugh."]
RIDDLES = ["What has hands but cannot clap? A clock.", "What has to be broken before you can use it? An egg.", "What gets wetter the more it dries? A towel.", "What has teeth but cannot bite? A comb.", "What goes up but never comes down? Your age.", "What has one eye but cannot see? A needle.", "What has a neck but no head? A bottle.", "What is full of holes but still holds water? A sponge.", "What can you catch but not throw? A cold.", "What has many keys but opens no door? A piano."]
FUN_FACTS = ["The Arctic tern flies from the north of the world to the south and back every year.", "An octopus has three hearts.", "Bees dance to show each other the way.", "A snail can sleep for a very long time.", "Honey can stay good for hundreds of years.", "A group of crows is called a murder.", "Butterflies taste with their feet.", "Elephants cannot jump.", "The heart of a blue whale is as heavy as a small car.", "Penguins give each other pebbles as presents."]
PRAISE = ["You are kind, and you ask good questions.", "You are doing well. Keep going!", "I think you are a wonderful person."]
PUSH = ["You can do it! One small step after the other.", "Do not give up. Every big thing starts small.", "Take a deep breath, and then begin. You can do it!"]
ASKS = [
    (ASK_JOKE, JOKES, 5),
    (["Tell me a riddle.", "Do you know a riddle?", "A riddle please", "Give me a riddle.", "Ask me a riddle.", "Can you tell me a riddle?", "Another riddle", "I like riddles, tell me one."], RIDDLES, 2),
    (["Tell me a fun fact.", "Tell me something interesting.", "Do you know a fun fact?", "Tell me something I do not know.", "Teach me something.", "Give me a fact.", "An interesting fact please", "Surprise me.", "Tell me something about animals."], FUN_FACTS, 2),
    (["Say something nice.", "Say something nice about me.", "Give me a compliment.", "Cheer me up.", "Tell me something nice.", "Be nice to me.", "I need a kind word."], PRAISE, 1),
    (["Motivate me.", "I need some motivation.", "Encourage me.", "I want to give up.", "I cannot do it.", "This is too hard for me.", "I have no energy to work.", "Help me to start.", "I am afraid to fail.", "I have a test tomorrow."], PUSH, 1),
    (["Heads or tails?", "Flip a coin.", "Toss a coin", "heads or tails", "Can you flip a coin?"], ["Heads!", "Tails!"], 1),
    (["Pick a number.", "Pick a number from 1 to 10.", "Give me a number.", "Think of a number.", "Say a number between one and ten.", "Choose a number", "Your favorite number?"], [f"I choose {n}." for n in range(1, 11)], 1),
]


def ask(rng):
    questions, replies, _ = rng.choices(ASKS, [x[2] for x in ASKS])[0]
    return rng.choice(questions), rng.choice(replies)


def advice(rng):
    food, hobby = rng.choice(FOODS), rng.choice(HOBBIES)
    kind = rng.randrange(4)
    if kind == 0:
        return rng.choice(["What should I eat?", "What should I cook?", "What can I have for lunch?", "Give me an idea for dinner.", "What shall I eat for breakfast?", "What is good for dinner?", "I do not know what to eat.", "Can you suggest some food?"]), rng.choice([f"How about {food}?", f"You could have some {food}."])
    if kind == 1:
        return rng.choice(["What should I do today?", "What can I do this weekend?", "Give me an idea what to do.", "I do not know what to do.", "What could I do on a rainy afternoon?", "Give me an idea for a rainy day.", "What can I do for fun?", "Any ideas for the afternoon?"]), rng.choice(["You could read a book or take a walk.", "How about drawing a picture?", "You could call a friend or bake a cake.", f"You could try {rng.choice(['reading', 'painting', 'cooking', 'gardening', 'swimming', 'singing', 'drawing', 'baking'])}."])
    if kind == 2:
        pet, n = rng.choice(PETS), rng.choice(names.PETS)
        return rng.choice([f"Give me a name for my {pet}.", f"What should I call my {pet}?", f"I need a name for my {pet}.", f"How shall I name my new {pet}?", f"What is a good name for {a(pet)}?", f"Can you think of a name for {a(pet)}?"]), rng.choice([f"How about {n}?", f"{n} is a good name for {a(pet)}."])
    n = names.person(rng)
    who = rng.choice(["friend", "brother", "sister", "mother", "father", "son", "daughter", "grandma", "teacher", "neighbor", "boss", "uncle"])
    return rng.choice([f"My {who} is {rng.choice(['sad', 'ill', 'angry', 'far away', 'tired'])}.", f"I miss my {who}.", f"I had a fight with my {who}.", f"My {who} does not talk to me."]), rng.choice([f"I am sorry about that. Maybe you can write your {who} a kind letter.", f"I am sorry to hear that. Your {who} will be glad if you call."])


THEMES = "spring summer autumn winter rain snow wind sea moon sun star tree river bird cat dog mouse fox bee rose garden forest night morning friend mother love rainbow boat train cloud leaf owl bear fish horse tern house stone light dream song".split()


def poem(rng):
    t = rng.choice(THEMES)
    q = rng.choice([f"Write a poem about {x}." for x in (t, "the " + t, a(t))] + [f"A poem about {a(t)}, please", f"Write a little poem about the {t}.", f"Can you write a poem about the {t}?", f"poem about the {t}", f"I want a poem about {a(t)}.", f"Make a poem about the {t}"])
    one = rng.choice(["Oh {t}, so {x} and bright,", "The {t} is here for me and you,", "I saw the {t} one sunny day,", "Little {t}, what do you see?", "Dear {t}, I think of you,"])
    two = {"Oh": ["you fill my heart with light.", "you stay with me all night."], "Th": ["as old as time and always new.", "and all the sky is clear and blue."], "I ": ["it made me want to stop and play.", "it took my worries all away."], "Li": ["A big wide world for you and me.", "The hills, the clouds, the deep blue sea."], "De": ["the sky is clear, the sky is blue.", "and every day the world is new."]}[one[:2]]
    end = rng.choice([("And when the day comes to its end,", "I know the {t} will be my friend."), ("So let us sing, so let us go,", "the {t} is all we need to know."), ("The world is big, the world is wide,", "with the {t} always by my side.")])
    return q, "\n".join([one.format(t=t, x=rng.choice(["kind", "fair", "warm", "small"])), cap(rng.choice(two)), end[0], cap(end[1].format(t=t))])


def gibberish(rng):
    kind = rng.randrange(3)
    letters = "asdfghjklqwertyuiopzxcvbnm"
    word = lambda: "".join(rng.choice(letters if kind else "asdfjkl") for _ in range(rng.randint(3, 9)))
    q = " ".join(word() for _ in range(rng.choice([1, 1, 2, 3]))) if kind < 2 else rng.choice(["?", "...", "???", "hmm", "blah", "test", ".", "!!", "x", "abc", "uh", "eh", "hm", "mmm", "aaa", "ooo", "brrr", "grr", "pff"]) + rng.choice(["", "", " ...", "?", "!"])
    return q, rng.choice(["I did not understand that. Could you say it in other words?", "Sorry, I did not get that. Ask me an easy question or ask for a story."])


def unknown_name(rng):
    return rng.choice(["What is my name?", "Do you know my name?", "Who am I?", "Do you remember my name?", "what's my name", "How old am I?", "Where do I live?", "What is my favorite color?", "What pet do I have?"]), rng.choice(["I do not know. You have not told me yet.", "You have not told me yet. Would you like to tell me?"])


COLOR_WORDS = "red blue green yellow black white pink purple brown orange gray golden silver turquoise violet beige".split()


def memory(rng):
    """Told and asked again: [(said, reply), (question, answer)], or one turn that does both."""
    kind = rng.choices(range(7), [6, 2, 2, 2, 1, 2, 2])[0]
    if kind == 0:
        x = names.person(rng)
        said = rng.choice(["My name is {x}.", "I am {x}", "Hi, I'm {x}!", "Hello, my name is {x}", "I'm called {x}.", "call me {x}", "my name is {x}", "You can call me {x}.", "This is {x}.", "Hello Tern, I am {x}.", "{x} is my name.", "My name's {x}, by the way.", "hi, {x} here", "People call me {x}."])
        reply = rng.choice(["Nice to meet you, {x}! I am Tern.", "Hello, {x}! How are you?", "Hi {x}! It is nice to meet you.", "Hello {x}! What would you like to talk about?"])
        ask_, answer = rng.choice(["What is my name?", "Do you remember my name?", "Who am I?", "what's my name", "Can you tell me my name?", "Do you still know my name?", "Say my name.", "What did I say my name was?", "So what is my name?", "How am I called?", "Which name did I tell you?"]), rng.choice(["Your name is {x}.", "You are {x}!", "Your name is {x}, you told me so."])
    elif kind == 1:
        x = rng.choice(COLOR_WORDS)
        said, reply = rng.choice(["My favorite color is {x}.", "I like the color {x}", "I love {x}, it is my favorite color.", "{X} is my favorite color."]), rng.choice(["{X} is a beautiful color!", "I like {x}, too."])
        ask_, answer = rng.choice(["What is my favorite color?", "Which color do I like?", "Do you remember my favorite color?", "Which color do I like best?"]), "Your favorite color is {x}."
    elif kind == 2:
        x = rng.choice(PETS)
        said, reply = rng.choice(["I have {ax}.", "My pet is {ax}", "I have got {ax} at home", "At home I have {ax}."]), rng.choice(["{Ax} is a nice pet! What is its name?", "How nice to have {ax}! What is its name?"])
        ask_, answer = rng.choice(["What pet do I have?", "Which animal do I have?", "Do you remember my pet?", "What animal lives with me?"]), "You have {ax}."
    elif kind == 3:
        x = rng.choice(CITIES)[rng.randrange(2)]
        said, reply = rng.choice(["I live in {x}.", "I am from {x}", "I come from {x}.", "My home is in {x}."]), rng.choice(["{X} sounds like a nice place!", "I have never been to {x}, but it sounds nice."])
        ask_, answer = rng.choice(["Where do I live?", "Where am I from?", "Do you know where I live?", "Where is my home?", "Do you remember where I live?"]), rng.choice(["You live in {x}.", "You told me: {x}."])
    elif kind == 4:
        x = str(rng.randint(4, 99))
        said, reply = rng.choice(["I am {x} years old.", "I'm {x} years old", "My age is {x}."]), "{x} is a good age!"
        ask_, answer = rng.choice(["How old am I?", "What is my age?", "Do you remember my age?"]), "You are {x} years old."
    elif kind == 5:
        x, p = names.pet(rng), rng.choice(PETS)
        said = rng.choice([f"My {p} is called {{x}}.", f"I have {a(p)} named {{x}}.", f"The name of my {p} is {{x}}."])
        reply = f"{{x}} is a good name for {a(p)}!"
        ask_, answer = rng.choice([f"What is the name of my {p}?", f"How is my {p} called?", f"What is my {p}'s name?", f"Do you remember the name of my {p}?"]), rng.choice([f"Your {p} is called {{x}}.", f"Your {p}'s name is {{x}}."])
    else:
        x = rng.choice(FOODS + HOBBIES)
        said, reply = rng.choice(["I like {x}.", "I love {x}.", "My favorite thing is {x}."]), rng.choice(["It is nice that you like {x}!", "What do you like most about {x}?"])
        ask_, answer = rng.choice(["What do I like?", "What did I say I like?", "Do you remember what I like?"]), "You like {x}."
    fill = lambda s: s.format(x=x, X=cap(x), ax=a(x), Ax=cap(a(x)))
    said, reply, answer = fill(said), fill(reply), fill(answer)
    if rng.random() < 0.25:
        return [(vary(rng, (said if said[-1] in ".!?" else said + ".") + " " + ask_), answer)]
    return [(vary(rng, said), reply), (vary(rng, ask_), answer)]


GENERATORS = [(mood, 12), (news, 6), (about_me, 16), (refusal, 20), (outside, 4), (opinion, 4), (ask, 8), (advice, 4), (poem, 3), (gibberish, 2)]


def exchange(rng):
    fns, weights = zip(*GENERATORS)
    fn = rng.choices(fns, weights)[0]
    q, ans = fn(rng)
    return (q if fn is gibberish else vary(rng, q, command=fn not in (mood, news, about_me))), ans
