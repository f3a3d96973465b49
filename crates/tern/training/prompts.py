"""The fifty prompts that a trained model is judged by; kept out of the training data by mixture.build."""

PROMPTS = [
    "Hello, is anybody in there?", "hey, what's your name, little one?", "Good morning! How did you sleep?",
    "Who made you and why?", "Are you a real bird?", "What are you able to do for me?", "Do you like chocolate ice cream?",
    "I had a bad day at work.", "I just got a new puppy!", "I am so tired today.", "Tell me something funny.",
    "I think you are very clever.", "You are wrong!", "Have you heard of a robot called Wobbly?", "Can you dance for me?", "Would you be my wife, dear Tern?",
    "What is the meaning of my life?", "Thank you so much, you were great.", "Good night, sleep tight.", "I must leave now, bye!",
    "Early is the opposite of what?", "opposite of rich?", "What color does a ripe tomato have?", "What sound do cows make?",
    "How many legs does a spider have, do you know?", "which city is the capital of beautiful italy?", "Which city is Japan's capital?",
    "What is 2 plus 2?", "How much is 9 minus 4?", "What comes after Friday?", "March: which month is right before it?",
    "Could you count up to six for me?", "Give me the names of three fruits.", "What is a volcano, please?",
    "What do I use a hammer for?", "Why do people sleep at night?", "Is a whale really bigger than a little mouse?",
    "My name is Katrin. What is my name?", "What will the weather be like tomorrow?", "Write me a Python program.",
    "Please tell me a story about a penguin.", "Could you tell a story about a dragon and a princess?",
    "Tell a bedtime story with a hedgehog in it.", "A short story about a golden key, please!", "I'd love a story about a lonely robot.",
    "Continue this story: One day, a small duck named Dot found a door in the middle of the pond.",
    "Continue: Once upon a time there was a baker who could not sleep.", "Finish my story: The wind was loud and Tim was afraid.",
    "Is love a good thing, in your opinion?", "zzz grmpf",
]
