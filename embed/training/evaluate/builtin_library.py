"""What the built-in space is calibrated on: photos, films, sounds and words that may train weights.

Photos of clothes (CC0; ten classes, each said in phrases of ours), the sample photos of
scikit-image and scikit-learn, films that pan over others of both; pictures of ImageNet's classes,
drawn as the network would see them if it had not seen them before (`image_head.galleries`), for
there are no photos of most things that may be used; and common nouns with what WordNet says they
mean. A gallery is like a person's library, a few of each kind: ten answers cannot all be right for
want of wrong ones.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embed.errors import MissingDependency, NotFound
from embed.media.read import open_media
from embed.training.evaluate.library import Stored
from embed.training.image_head.galleries import UNSEEN, Galleries
from embed.training.prototypes import imagenet_classes, read_nouns
from embed.types import Embedder, Floats, Media, Modality, Pixels

PHOTOS = 10  # of a class; as many films of other photos
FRAMES = 4
NOUNS = 100
CLASSES = 150
AT_ONCE = 16
_SMALL = set(re.findall("[a-z]+", """
    the and with for that from into over its has are was not one two any who which used being
    having something before after against other than can very little small large big old
"""))  # fmt: skip

CLOTHES: Mapping[str, Sequence[str]] = {
    "dress": ("a dress", "an evening gown", "a summer dress on a hanger", "a long frock"),
    "hat": ("a hat", "a cap with a brim", "something to wear on the head", "a woollen beanie"),
    "longsleeve": ("a long-sleeved shirt", "a jumper", "a sweater", "a top with long sleeves"),
    "outwear": ("a coat", "a winter jacket", "an anorak with a hood", "outerwear"),
    "pants": ("trousers", "a pair of jeans", "pants", "long trousers laid out"),
    "shirt": ("a shirt with buttons", "a blouse", "a shirt with a collar", "a dress shirt"),
    "shoes": ("shoes", "a pair of sneakers", "leather boots", "something to wear on the feet"),
    "shorts": ("shorts", "short trousers", "swimming trunks", "a pair of denim shorts"),
    "skirt": ("a skirt", "a pleated skirt", "a miniskirt", "a skirt that reaches the knee"),
    "t-shirt": ("a t-shirt", "a tee with a print", "a short-sleeved top", "a cotton tee"),
}

SAMPLES: Mapping[str, Mapping[str, Sequence[str]]] = {
    "skimage/data": {
        "astronaut.png": ("an astronaut in an orange suit", "a woman smiling before a flag"),
        "brick.png": ("a brick wall", "masonry"),
        "camera.png": ("a photographer with a tripod", "a man with a camera in a field"),
        "chelsea.png": ("a cat", "the face of a tabby kitten"),
        "clock_motion.png": ("a clock", "the hands of a watch"),
        "coffee.png": ("a cup of coffee", "an espresso with a spoon"),
        "coins.png": ("old coins", "ancient money"),
        "grass.png": ("grass", "a lawn"),
        "gravel.png": ("gravel", "pebbles on the ground"),
        "horse.png": ("a horse", "the silhouette of a pony"),
        "hubble_deep_field.jpg": ("galaxies", "deep space seen through a telescope"),
        "moon.png": ("the moon", "craters on a lunar surface"),
        "motorcycle_left.png": ("a motorcycle", "a motorbike in a garage"),
        "page.png": ("a page of a book", "printed text"),
        "retina.jpg": ("a retina", "the inside of an eye"),
        "rocket.jpg": ("a rocket", "a space launch"),
    },
    "sklearn/datasets/images": {
        "china.jpg": ("a Chinese temple", "a pavilion with a curved roof"),
        "flower.jpg": ("a flower", "a red blossom with a yellow middle"),
    },
}


def words(texts: Mapping[str, Sequence[str]], embedder: Embedder) -> Iterator[Stored]:
    """The phrases of each record."""
    said = [(record, text) for record, phrases in texts.items() for text in phrases]
    media = [Media(Modality.TEXT, text) for _, text in said]
    return _stored(embedder, [record for record, _ in said], [text for _, text in said], media)


def photos(paths: Mapping[str, Sequence[Path]], embedder: Embedder) -> Iterator[Stored]:
    """The photos of each record."""
    listed = [(record, path) for record, found in paths.items() for path in found]
    media = (Media(Modality.IMAGE, pixels(path)) for _, path in listed)
    names = [str(path) for _, path in listed]
    return _stored(embedder, [record for record, _ in listed], names, media)


def films(paths: Mapping[str, Sequence[Path]], embedder: Embedder) -> Iterator[Stored]:
    """A pan over each photo, which is not among the photos."""
    listed = [(record, path) for record, found in paths.items() for path in found]
    media = (Media(Modality.VIDEO, pan(pixels(path)), rate=1.0) for _, path in listed)
    names = [f"a pan over {path}" for _, path in listed]
    return _stored(embedder, [record for record, _ in listed], names, media)


def clothes(paths: Iterable[Path]) -> tuple[dict[str, list[Path]], dict[str, list[Path]]]:
    """Ten photos of each class, and ten others for films. The class is the folder's name.

    Raises NotFound where there are not so many.
    """
    found: dict[str, list[Path]] = {record: [] for record in CLOTHES}
    for path in paths:
        found[path.parent.name].append(path)
    few = [record for record, own in found.items() if len(own) < 2 * PHOTOS]
    if few:
        raise NotFound(f"fewer than {2 * PHOTOS} photos of {', '.join(few)}: unpack all clothes")
    still = {record: own[:PHOTOS] for record, own in found.items()}
    return still, {record: own[PHOTOS : 2 * PHOTOS] for record, own in found.items()}


def samples() -> tuple[dict[str, list[Path]], dict[str, list[Path]], dict[str, Sequence[str]]]:
    """Photos inside installed packages, every third of them for a film; and what they all show.

    Raises MissingDependency.
    """
    paths, said = {}, {}
    for place, names in SAMPLES.items():
        package, _, inside = place.partition("/")
        spec = find_spec(package)
        if spec is None or spec.origin is None:
            raise MissingDependency("the sample photos need: pip install 'crossbind[demo]'")
        for name, phrases in names.items():
            paths[name] = [Path(spec.origin).parent / inside / name]
            said[name] = phrases
    filmed = {name: paths[name] for name in sorted(paths)[::3]}
    shown = {name: found for name, found in paths.items() if name not in filmed}
    return shown, filmed, said


def nouns(wordnet: Path, taken: Iterable[str], *, seed: int = 0) -> dict[str, list[str]]:
    """Common nouns with their meaning, by record; none that shares a word with `taken`.

    Common is a noun of one word whose first sense WordNet met in running text.
    """
    synsets = read_nouns(wordnet)
    known = {word for text in taken for word in _letters(text)}
    found = {}
    for line in (wordnet / "index.noun").read_text(encoding="latin-1").splitlines():
        fields = line.split()
        if line.startswith(" ") or not re.fullmatch("[a-z]{3,}", fields[0]):
            continue
        senses, tagged = int(fields[2]), int(fields[5 + int(fields[3])])
        synset = synsets[f"n{fields[-senses]}"]
        alike = known & (_letters(synset.gloss) | _letters(" ".join(synset.lemmas)))
        if tagged and not alike and len(synset.gloss.split()) > 3:
            found[f"n{fields[-senses]}"] = [fields[0], synset.gloss]
    chosen = np.random.default_rng(seed).permutation(sorted(found))[:NOUNS]
    return {str(record): found[record] for record in chosen}


def drawn(
    classes: Mapping[int, str], galleries: Galleries, joint: Callable[[Floats], Floats]
) -> Iterator[Stored]:
    """Pictures of classes as the network would see them, and as many films of one frame.

    classes: records by number of the class. joint: posterior `(N, 1000)` to vectors `(N, D)`.
    """
    for draw, modality in enumerate((Modality.IMAGE, Modality.VIDEO)):
        gallery = galleries.draw(draw, UNSEEN)
        vectors = joint(gallery.posterior)
        for number, record in classes.items():
            row = int(np.flatnonzero(gallery.classes == number)[0])
            called = f"{modality} {draw} of {record}"
            yield Stored(modality, record, called, vectors[row : row + 1])


def named(
    wordnet: Path, taken: Iterable[str], barred: NDArray[np.bool_], *, seed: int = 0
) -> tuple[dict[int, str], dict[str, list[str]]]:
    """Some of ImageNet's classes: records by number, and words for each, its name first.

    None that shares a word with `taken`. barred: `(1000,)`, those that are not to be chosen.
    """
    synsets = read_nouns(wordnet)
    known = {word for text in taken for word in _letters(text)}
    numbers, words = {}, {}
    for number, (record, name) in enumerate(zip(*imagenet_classes(), strict=True)):
        synset = synsets[record]
        others = [lemma for lemma in synset.lemmas if lemma.lower() != name.lower()]
        if not barred[number] and not known & _letters(" ".join([name, synset.gloss, *others])):
            numbers[number], words[record] = record, [name, *others[:1]]
    chosen = sorted(np.random.default_rng(seed).permutation(sorted(numbers))[:CLASSES].tolist())
    return {n: numbers[n] for n in chosen}, {numbers[n]: words[numbers[n]] for n in chosen}


def pixels(path: Path) -> Pixels:
    """`(H, W, 3)`, as an ingest decodes it."""
    media = open_media(path, accepts=frozenset({Modality.IMAGE})).decode(
        Modality.IMAGE, image_side=256
    )
    assert isinstance(media.data, np.ndarray)
    return media.data


def pan(picture: Pixels) -> Pixels:
    """`(FRAMES, h, w, 3)`: a window of four fifths of it that moves from one corner to another."""
    height, width = (4 * side // 5 for side in picture.shape[:2])
    steps = np.linspace(0, 1, FRAMES)
    rest = picture.shape[0] - height, picture.shape[1] - width
    corners = [(int(step * rest[0]), int(step * rest[1])) for step in steps]
    return np.stack([picture[y : y + height, x : x + width] for y, x in corners])


def _letters(text: str) -> set[str]:
    """Words that tell something, without a plural's s."""
    found = {word.rstrip("s") for word in re.findall("[a-z]{3,}", text.lower())}
    return found - _SMALL


def _stored(
    embedder: Embedder, records: Sequence[str], contents: Sequence[str], media: Iterable[Media]
) -> Iterator[Stored]:
    """Each medium as one piece, in batches."""
    rest = iter(media)
    for first in range(0, len(records), AT_ONCE):
        batch = list(islice(rest, AT_ONCE))
        vectors = embedder.embed(batch)
        for row, medium in enumerate(batch):
            native = None if vectors.native is None else vectors.native[row : row + 1]
            joint = vectors.joint[row : row + 1]
            at = first + row
            yield Stored(medium.modality, records[at], contents[at], joint, native)
