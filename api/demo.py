"""The sample library and the searches of `crossbind demo`.

Photos come from inside installed packages (scikit-image, scikit-learn), which are located but
never imported; the texts were written for this file. Nothing is downloaded.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from api.parts import DEFAULT_SPACE
from api.requests import SearchAnswer, SearchRequest, Term
from api.service import Service
from embed.errors import MissingDependency
from embed.types import Modality
from index.batch.ingest import Progress
from index.types import IngestReport

if TYPE_CHECKING:  # rich is for people
    from api.terminal import Terminal

COLLECTION = "demo"
FOLDER = "demo-library"

# Package → folder inside it → photos that are about something a person would look for.
PHOTOS = {
    "skimage": (
        "data",
        [
            *("astronaut.png", "brick.png", "camera.png", "cell.png", "chelsea.png"),
            *("clock_motion.png", "coffee.png", "coins.png", "grass.png", "gravel.png"),
            *("horse.png", "hubble_deep_field.jpg", "ihc.png", "moon.png", "motorcycle_left.png"),
            *("page.png", "retina.jpg", "rocket.jpg"),
        ],
    ),
    "sklearn": ("datasets/images", ["china.jpg", "flower.jpg"]),
}

TEXTS = {
    "astronaut-training.txt": """\
Before her first flight she spent two years in the pool, in an orange suit that weighed as much
as she did, learning to turn a bolt with gloves like oven mitts. Space is mostly practice.""",
    "cat-on-the-sill.txt": """\
Our cat has one rule: the window sill is hers until noon. She folds her paws under her chin,
follows the pigeons with her whiskers, and wakes up only for the sound of the fridge.""",
    "espresso-at-home.txt": """\
Grind the beans just before you brew, warm the cup, and stop at thirty grams. A good espresso tastes
of caramel and a little of smoke; a bad one tastes of hurry.""",
    "launch-day.txt": """\
At T minus six seconds the engines lit. The rocket stood still on a cloud of its own steam, then
climbed past the tower, and the sound reached us only when it was already high.""",
    "palace-garden.txt": """\
The pavilions of the old imperial palace stand on a hill above the lake, red columns under grey
tiles. On summer evenings the people of Beijing come to row, and the roofs turn gold.""",
    "dahlias.txt": """\
Plant dahlias after the last frost, eyes upward, a hand deep. Cut the first bloom early: the plant
answers with ten more, and they go on until November.""",
    "old-motorcycle.txt": """\
It took a winter to rebuild the gearbox, new rings and a lot of swearing. In April the old
motorcycle started at the third kick, and we rode it to the sea and back.""",
    "roman-coins.txt": """\
A ploughman found the jar: four hundred bronze coins with the heads of emperors, hidden in a hurry
some seventeen hundred years ago by somebody who never came back for them.""",
    "craters.txt": """\
Through a small telescope the craters are best seen along the terminator, the line between lunar
day and night, where every rim throws a long black shadow.""",
    "deep-field.txt": """\
They pointed the telescope at a patch of sky with nothing in it and waited ten days. The picture
held three thousand galaxies, some so far away that their light is older than the Earth.""",
    "eye-exam.txt": """\
The doctor put drops in my eyes and photographed the back of them: an orange disc with a bright
spot, and blood vessels running from it like rivers on a map.""",
    "wild-horses.txt": """\
On the plateau the herd comes down to drink at dusk, the mares first and the foals between them,
while the stallion stands on the ridge until all of them are done.""",
    "beach-walk.txt": """\
We had the beach to ourselves, the dog and I. She brought me the same wet stick forty times, and
the tide took our footprints before we had turned around.""",
    "street-photographer.txt": """\
He carried the camera on a tripod through the park, in a long coat, and waited. Taking pictures, he
used to say, is standing where something is about to happen.""",
    "bread.txt": """\
Flour, water, salt, and a night in the fridge. Fold the dough four times, bake it in a pot with the
lid on, and do not cut the loaf while it still sings.""",
}

# Photo, words, and what to look for.
SEARCHES: tuple[tuple[str | None, str | None, Modality], ...] = (
    (None, "a cat looking at me", Modality.IMAGE),
    (None, "something hot to drink", Modality.IMAGE),
    (None, "a spaceship taking off", Modality.IMAGE),
    (None, "an old building in Asia", Modality.IMAGE),
    (None, "a vehicle with two wheels", Modality.IMAGE),
    ("chelsea.png", None, Modality.TEXT),
    ("motorcycle_left.png", None, Modality.TEXT),
    ("coffee.png", "a cat", Modality.TEXT),
    ("flower.jpg", "a building in China", Modality.IMAGE),
)


@dataclass(frozen=True, slots=True)
class Search:
    """One search of the demo, and how it is announced."""

    title: str
    request: SearchRequest


def run(
    service: Service,
    people: Terminal | None,
    watching: AbstractContextManager[Callable[[Progress], None] | None],
) -> tuple[IngestReport, list[SearchAnswer]]:
    """Gathers the library, indexes it, searches it. people: who to show it to, if anybody.

    Raises MissingDependency when the packages with the photos are not installed.
    """
    folder = service.settings.home / FOLDER
    photos, texts = gather(folder)
    if people:
        people.note(f"{photos} photos and {texts} short texts are in {people.place(folder)}")
        with people.waiting("loading the models; the first time takes a little longer"):
            service.warm(DEFAULT_SPACE)
    with watching as progress:
        report = service.ingest([folder], collection=COLLECTION, progress=progress)
    if people:
        people.report(report, COLLECTION)
    answers = []
    for search in searches(folder):
        answers.append(service.search(search.request))
        if people:
            people.note()
            people.heading(search.title)
            people.answer(answers[-1], places=False)
    if people:
        people.note(f"\n{NEXT.format(home=quote(people.place(service.settings.home)))}")
    return report, answers


def gather(folder: Path) -> tuple[int, int]:
    """Fills `folder` with photos and texts and says how many; what is there already stays."""
    photos = list(_photos())
    (folder / "photos").mkdir(parents=True, exist_ok=True)
    (folder / "texts").mkdir(exist_ok=True)
    for photo in photos:
        target = folder / "photos" / photo.name
        if not target.exists():
            shutil.copyfile(photo, target)
    for name, text in TEXTS.items():
        target = folder / "texts" / name
        if not target.exists():
            target.write_text(text + "\n", encoding="utf-8")
    return len(photos), len(TEXTS)


def _photos() -> Iterator[Path]:
    for package, (inside, names) in PHOTOS.items():
        spec = find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise MissingDependency(
                f"the demo takes its photos from {package}, which is not installed; "
                "install it with: pip install scikit-image scikit-learn"
            )
        root = Path(spec.submodule_search_locations[0]) / inside
        yield from (root / name for name in names if (root / name).is_file())


def searches(folder: Path) -> list[Search]:
    """Words → photo, photo → text, photo + words → either."""
    return [_search(folder, *search) for search in SEARCHES]


def _search(folder: Path, photo: str | None, words: str | None, wanted: Modality) -> Search:
    terms, asked, shown = [], [], []
    if photo is not None:
        terms.append(Term(kind="image", value=folder / "photos" / photo))
        asked.append("photo")
        shown.append(photo)
    if words is not None:
        terms.append(Term(kind="text", value=words))
        asked.append("words")
        shown.append(repr(words))
    found = "photo" if wanted is Modality.IMAGE else "text"
    return Search(
        f"{' + '.join(asked)} → {found}: {' + '.join(shown)}",
        SearchRequest(
            terms=tuple(terms), collection=COLLECTION, k=3, modalities=frozenset({wanted})
        ),
    )


NEXT = """\
That was the demo. Now your own pictures and texts:
  crossbind ingest ~/Pictures
  crossbind search "a dog on a beach"
  crossbind serve
More of the demo:
  crossbind --home {home} search "a galloping horse" --collection demo
  crossbind --home {home} ask "how many coins did the ploughman find?" --collection demo"""
