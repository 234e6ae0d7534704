"""What the picture benchmarks ask: class words, and free-form queries with what answers them.

Never tuned on; most do not name the class. Of CLOTHES some words ("trousers", "a pullover",
"footwear") are also among the captions that the clothes head was made of; NEW_CLOTHES has none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

CLOTHES: Mapping[str, tuple[str, Sequence[str]]] = {
    "dress": (
        "dress",
        (
            "a woman in an evening gown",
            "something a woman wears to a party",
            "a long summer frock",
        ),
    ),
    "hat": (
        "hat",
        (
            "something worn on the head",
            "a cap against the sun",
            "headgear",
        ),
    ),
    "longsleeve": (
        "long sleeve shirt",
        (
            "a top with long sleeves",
            "a jumper or a sweatshirt",
            "a pullover",
        ),
    ),
    "outwear": (
        "outerwear jacket",
        (
            "a warm coat for winter",
            "a jacket to wear outdoors",
            "an overcoat with a zip",
        ),
    ),
    "pants": (
        "pants",
        (
            "trousers",
            "blue jeans for the legs",
            "a pair of slacks",
        ),
    ),
    "shirt": (
        "shirt",
        (
            "a shirt with buttons and a collar",
            "a blouse for the office",
            "a dress shirt",
        ),
    ),
    "shoes": (
        "shoes",
        (
            "footwear",
            "sneakers for running",
            "something for the feet",
        ),
    ),
    "shorts": (
        "shorts",
        (
            "short trousers for the summer",
            "swimming trunks",
            "bermuda shorts",
        ),
    ),
    "skirt": (
        "skirt",
        (
            "a miniskirt",
            "a garment that hangs from the waist",
            "a pleated skirt",
        ),
    ),
    "t-shirt": (
        "t-shirt",
        (
            "a tee with short sleeves",
            "a cotton T-shirt with a print",
            "a casual short-sleeved top",
        ),
    ),
}
"""By folder of the Clothing dataset: what a person would type, and free-form queries."""

NEW_CLOTHES: Mapping[str, Sequence[str]] = {
    "dress": ("an elegant outfit for a ball", "a one-piece garment for women"),
    "hat": ("something worn on the head", "a woollen beanie", "a fedora"),
    "longsleeve": ("a warm jumper", "knitwear for cold days", "a turtleneck"),
    "outwear": ("a parka for the winter", "an anorak", "a windbreaker with a zip"),
    "pants": ("chinos", "leggings", "corduroys"),
    "shirt": ("something to wear under a suit and tie", "a formal garment for the office"),
    "shoes": ("trainers for running", "something for the feet", "loafers"),
    "shorts": ("cut-off denim for the summer", "swimwear for men"),
    "skirt": ("a kilt", "a tutu", "a garment that hangs from the waist"),
    "t-shirt": ("a jersey with a print", "a polo", "a casual cotton garment"),
}
"""As CLOTHES, in words that the head has not met."""

CIFAR: Mapping[str, tuple[str, Sequence[str]]] = {
    "airplane": (
        "airplane",
        (
            "an aircraft flying in the sky",
            "a jet taking off",
            "something with wings and engines",
        ),
    ),
    "automobile": (
        "automobile",
        (
            "a car on the road",
            "a passenger vehicle with four wheels",
            "a sedan",
        ),
    ),
    "bird": (
        "bird",
        (
            "an animal with feathers and a beak",
            "a small songbird",
            "something that lays eggs and flies",
        ),
    ),
    "cat": (
        "cat",
        (
            "a pet that purrs",
            "a kitten",
            "a feline animal",
        ),
    ),
    "deer": (
        "deer",
        (
            "a forest animal with antlers",
            "a stag",
            "a wild grazing animal",
        ),
    ),
    "dog": (
        "dog",
        (
            "man's best friend",
            "a puppy",
            "a pet that barks",
        ),
    ),
    "frog": (
        "frog",
        (
            "a toad",
            "an amphibian by the pond",
            "a green animal that croaks",
        ),
    ),
    "horse": (
        "horse",
        (
            "a pony",
            "an animal that people ride",
            "a stallion",
        ),
    ),
    "ship": (
        "ship",
        (
            "a boat on the sea",
            "a vessel carrying cargo",
            "a sailing yacht",
        ),
    ),
    "truck": (
        "truck",
        (
            "a lorry",
            "a heavy vehicle that moves goods",
            "a fire engine",
        ),
    ),
}
"""By folder of CIFAR-10: as above."""

SAMPLES: Mapping[tuple[str, ...], Sequence[str]] = {
    ("chelsea",): (
        "a cat",
        "a pet that purrs",
        "a tabby kitten looking at you",
    ),
    ("coffee",): (
        "a cup of coffee",
        "a hot drink with a spoon",
    ),
    ("rocket",): (
        "a rocket",
        "launch of a spacecraft",
    ),
    (
        "motorcycle_left",
        "motorcycle_right",
    ): (
        "a motorcycle",
        "a two wheeled vehicle in a garage",
    ),
    ("astronaut",): (
        "an astronaut",
        "a woman in a space suit",
    ),
    ("camera",): (
        "a photographer with a tripod",
        "a man with a camera",
    ),
    ("coins",): (
        "old coins",
        "money",
    ),
    ("china",): (
        "a temple",
        "a palace in Asia",
        "a historic building",
    ),
    ("flower",): (
        "a flower",
        "a blossom with petals",
    ),
    ("brick",): ("a brick wall",),
    ("hubble_deep_field",): (
        "galaxies in deep space",
        "stars",
    ),
    ("moon",): ("the surface of the moon",),
    (
        "page",
        "text",
    ): (
        "a page of text",
        "a printed document",
    ),
}
"""By sample photos of scikit-image and scikit-learn, without suffix."""

TREE: Sequence[tuple[str, Sequence[str]]] = (
    ("a pet that purrs", ("domestic cat",)),
    ("man's best friend", ("dog",)),
    ("a big wild cat", ("big cat",)),
    ("something to play music on", ("musical instrument",)),
    ("fresh fruit", ("edible fruit",)),
    (
        "a bike or motorbike",
        (
            "bicycle",
            "minibike",
            "motor scooter",
        ),
    ),
    (
        "two wheeled vehicle",
        (
            "bicycle",
            "minibike",
            "motor scooter",
        ),
    ),
    ("a bug with six legs", ("insect",)),
    ("a cold-blooded reptile", ("reptile",)),
    ("somewhere to sit down", ("seat",)),
    ("a building where people pray", ("place of worship",)),
    ("machines in the kitchen", ("kitchen appliance",)),
    ("pots and pans for cooking", ("cooking utensil",)),
    ("driving a car on the road", ("car",)),
    ("a sailing boat", ("sailing vessel",)),
    ("a dangerous snake", ("snake",)),
    ("a creepy spider with eight legs", ("arachnid",)),
    ("a butterfly on a flower", ("butterfly",)),
    ("mushrooms in the forest", ("fungus",)),
    ("a weapon to fight with", ("weapon",)),
    ("a hand tool from the workshop", ("hand tool",)),
    ("an electronic computer", ("computer",)),
    ("a ball for playing sports", ("ball",)),
    ("something worn on the head", ("headdress",)),
    ("footwear", ("footwear",)),
    ("clothes people wear", ("clothing",)),
    ("a tasty drink", ("beverage",)),
    ("vegetables on the market", ("vegetable",)),
    ("a bridge over a river", ("bridge",)),
    (
        "a train on rails",
        (
            "train",
            "locomotive",
        ),
    ),
    ("flying machine in the sky", ("aircraft",)),
    ("a ship at sea", ("ship",)),
    ("monkeys in the trees", ("monkey",)),
    ("a great ape", ("ape",)),
    ("a bear in the woods", ("bear",)),
    ("a whale or dolphin swimming in the ocean", ("cetacean",)),
    ("sharks and rays", ("elasmobranch",)),
    ("a turtle with a shell", ("turtle",)),
    ("a lizard on a rock", ("lizard",)),
    ("a frog by the pond", ("frog",)),
    ("crabs and lobsters", ("decapod crustacean",)),
    ("ducks and geese on a lake", ("anseriform bird",)),
    ("a bird of prey hunting", ("bird of prey",)),
    ("a colourful parrot", ("parrot",)),
    ("a songbird singing", ("oscine",)),
    ("a horse or a zebra", ("equine",)),
    ("cattle grazing", ("bovine",)),
    (
        "sheep and goats",
        (
            "sheep",
            "wild goat",
        ),
    ),
    ("a rabbit in the grass", ("leporid",)),
    ("a small rodent", ("rodent",)),
    ("elephants in Africa", ("elephant",)),
    ("a telephone to call someone", ("telephone",)),
    ("what time is it, a clock", ("clock",)),
    ("a stringed instrument", ("stringed instrument",)),
    ("blowing into a brass instrument", ("brass",)),
    ("a bottle to drink from", ("bottle",)),
    ("a bag to carry things", ("bag",)),
    ("mountains and cliffs landscape", ("geological formation",)),
    ("a flower in bloom", ("flower",)),
    ("fire fighters, police and ambulance vehicle", ("truck",)),
    ("a truck", ("truck",)),
    ("fish in the water", ("bony fish",)),
    ("furniture for the bedroom", ("bedroom furniture",)),
    ("a boat on a lake", ("boat",)),
    ("a puppy of a hunting dog", ("hunting dog",)),
    ("a fluffy terrier", ("terrier",)),
    ("a fierce wolf howling", ("wolf",)),
    ("a fox in the snow", ("fox",)),
    ("beads, chains and jewellery", ("jewelry",)),
    ("a screen or monitor", ("screen",)),
    ("an office machine", ("peripheral",)),
    ("photographic camera", ("photographic equipment",)),
    ("protective helmet and armour", ("armor",)),
    ("a house to live in", ("dwelling",)),
    ("a shop where you buy things", ("mercantile establishment",)),
    ("gym and sports equipment", ("sports equipment",)),
    ("a wild dog of Africa or Asia", ("wild dog",)),
    ("a snail or slug without hurry", ("gastropod",)),
    ("salad, soup or other cooked dish", ("dish",)),
    ("a dessert, ice cream or cake", ("dessert",)),
    ("bread from the bakery", ("bread",)),
)
"""Free-form queries, and the WordNet synsets (by lemma) whose ImageNet classes answer them."""
