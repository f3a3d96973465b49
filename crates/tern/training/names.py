"""First names for people and story heroes, by the pronoun that goes with them in the stories."""

from phrasing import invented_name

GIRLS = """Lily Mia Anna Lucy Rosie Emma Nora Ella Ruby Ida Clara Molly Greta Wendy Alma Nell Zoe Julia Maria Sarah Laura Eva Kate Aisha
Mei Sofia Olivia Ava Amelia Isla Grace Alice Daisy Poppy Hannah Ellie Freya Eliza Martha Rose Violet Ivy Hazel Stella Luna Nina Lena Paula
Ines Elena Carla Bianca Marta Irene Helen Susan Betty Dora Vera Olga Tanya Priya Leila Fatima Yuki Sakura Linh Chloe Juliet Tina Gina Lola
Jenny Penny Polly Holly Dolly Tilda Frida Astrid Ingrid Signe Karin Birgit Heidi Lotte Mila Sina Tara Maya Naomi Ruth Rachel Miriam Esther Judy
Fay May Joan Jane Mary Margaret Cora Flora Thea Leni Romy Kim""".split()
BOYS = """Tom Ben Sam Max Tim Jack Leo Finn Oscar Hugo Bruno Otto Pip Fred Toby Kit Milo Theo Alex Peter David Paul Mark John Omar Ravi Carlos
Harry George Noah Oliver Arthur Henry Alfie Archie Charlie Edward Louis Adam Jacob Lucas Luke Simon Felix Anton Emil Karl Hans Franz Erik Lars
Sven Nils Ole Jonas Elias Marco Luca Pablo Diego Mateo Ivan Boris Igor Yusuf Ali Hassan Ahmed Kenji Hiro Chen Wei Raj Arjun Robin Martin Walter
Victor Oskar Rufus Barney Dexter Gus Ned Ted Jim Joe Bob Bill Rob Rick Nick Dan Ken Roy Ray Jay Ian Neil Hank Frank Albert Basil Cedric Duncan""".split()
PETS = """Rex Bello Fluffy Minka Muffin Coco Buddy Spot Snowy Tiger Biscuit Cookie Pepper Ginger Smokey Whiskers Patch Rusty Shadow Lucky Bubbles
Peanut Pickles Waffles Mittens Socks Nibbles Speedy Dot Button Bean Pebble Acorn Maple Clover Sunny Fuzzy Scout Bandit""".split()


def person(rng) -> str:
    return invented_name(rng) if rng.random() < 0.5 else rng.choice(GIRLS + BOYS)


def pet(rng) -> str:
    return invented_name(rng) if rng.random() < 0.25 else rng.choice(PETS)


def hero(rng, female: bool) -> str:
    """A hero's name; invented ones and pet names take either pronoun."""
    x = rng.random()
    return invented_name(rng) if x < 0.12 else rng.choice(PETS) if x < 0.25 else rng.choice(GIRLS if female else BOYS)
