"""The things, colours, sizes and places that the demo model knows, with the words for each."""

from dataclasses import dataclass

SIZES = ("small", "medium", "big")
SIZE_WORDS = {"small": ("small", "tiny", "little"), "big": ("big", "large", "huge")}

LAYOUTS = ("centre", "left", "right", "top", "bottom", "side by side", "one above the other")
PLACE_WORDS = {
    "left": (" on the left", ", left"),
    "right": (" on the right", ", right"),
    "top": (" at the top", ", top"),
    "bottom": (" at the bottom", ", bottom"),
}
SIDE_BY_SIDE, STACKED = 5, 6  # indices into LAYOUTS

COLOURS: dict[str, tuple[int, int, int]] = {
    "white": (250, 250, 250),
    "black": (18, 18, 20),
    "red": (205, 40, 45),
    "orange": (245, 140, 40),
    "yellow": (250, 215, 70),
    "green": (70, 170, 80),
    "blue": (55, 110, 215),
    "light blue": (150, 205, 245),
    "purple": (130, 70, 180),
    "pink": (245, 160, 200),
    "grey": (150, 150, 155),
    "brown": (120, 80, 55),
}
COLOUR_SYNONYMS = {"grey": ("gray",), "light blue": ("sky blue",)}


@dataclass(frozen=True)
class Thing:
    """`label` is the art's name in emojibase; `names` what a prompt may call it, best first."""

    label: str
    names: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.names[0]


# One line a thing: the art's label, then its names where they differ. Near-duplicates (lime and
# lemon, taxi and car in profile) are left out: a model this small would blend them.
_LINES = """
dog face = dog, puppy
cat face = cat, kitten, kitty
fox
lion
unicorn
pig face = pig
rabbit face = rabbit, bunny
panda
koala
monkey face = monkey
frog
penguin
owl
baby chick = chick, bird
turtle
T-Rex = dinosaur, t-rex
spouting whale = whale
tropical fish = fish, tropical fish
octopus
crab
snail
butterfly
honeybee = bee, honeybee
lady beetle = ladybug, ladybird
elephant
tulip = tulip, flower
sunflower
cactus
palm tree
deciduous tree = tree
four leaf clover = clover
mushroom
grapes
watermelon
lemon
banana
pineapple
red apple = apple, red apple
cherries = cherries, cherry
strawberry
avocado
carrot
cheese wedge = cheese
hamburger = burger, hamburger
french fries = fries, french fries
pizza = pizza, slice of pizza
popcorn
soft ice cream = ice cream, ice cream cone
doughnut = donut, doughnut
birthday cake = cake, birthday cake
cupcake
hot beverage = coffee, cup of coffee
beer mug = beer, mug of beer
sun
crescent moon = moon, crescent moon
star
cloud
rainbow
snowflake
snowman without snow = snowman
high voltage = lightning, lightning bolt
fire = fire, flame
ringed planet = planet, saturn
umbrella
globe showing Europe-Africa = earth, globe
automobile = car, red car
bus
tractor
bicycle = bicycle, bike
locomotive = train, steam train
airplane = airplane, plane
rocket = rocket, spaceship
sailboat = boat, sailboat
flying saucer = ufo, flying saucer
house
castle
volcano
soccer ball = soccer ball, football
basketball
trophy
guitar
drum
headphone = headphones
camera
laptop = laptop, computer
light bulb = light bulb, lamp
key
locked = lock, padlock
crown
top hat = top hat, hat
balloon
wrapped gift = gift, present
Christmas tree
jack-o-lantern = pumpkin, jack-o-lantern
teddy bear
gem stone = diamond, gem
closed book = book, red book
envelope = letter, envelope
pencil
alarm clock = clock, alarm clock
video game = game controller
grinning face = smiley, happy face
ghost
alien
robot
skull
red heart = heart, red heart
blue heart
"""


def _thing(line: str) -> Thing:
    label, _, names = line.partition("=")
    label = label.strip()
    words = tuple(name.strip() for name in names.split(",") if name.strip())
    return Thing(label, words or (label.lower(),))


THINGS = tuple(_thing(line) for line in _LINES.strip().splitlines())


_NO_ARTICLE = {"cherries", "fries", "french fries", "headphones", "grapes", "popcorn"}


def article(name: str) -> str:
    """'a ' or 'an ' before `name`, or nothing before a plural."""
    if name in _NO_ARTICLE:
        return ""
    return "an " if name.startswith(("a", "e", "i", "o", "um")) else "a "


def plural(name: str) -> str:
    """The word for two of them: 'apples', 'foxes', 'butterflies'."""
    if name in _NO_ARTICLE or name in {"fish", "tropical fish"}:
        return name
    if name.endswith("y") and name[-2] not in "aeiou":
        return name[:-1] + "ies"
    return name + ("es" if name.endswith(("s", "x", "ch", "sh")) else "s")
