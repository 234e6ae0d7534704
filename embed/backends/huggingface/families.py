"""Which transformers families are towers: what they take, and where their files say how wide.

A family is a line of this table: everything else follows from its files, and from the methods
that its network has (`networks`). Describing a folder imports neither torch nor transformers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from embed.backends.bounds import FRAMES, SIDE, within
from embed.backends.huggingface import recipes as hf_recipes
from embed.backends.huggingface.files import ModelFolder, first_of
from embed.backends.recipes import AudioRecipe, ImageRecipe, PatchRecipe, TextRecipe
from embed.errors import MissingWeights
from embed.types import Modality

TEXT, IMAGE, AUDIO, VIDEO = Modality.TEXT, Modality.IMAGE, Modality.AUDIO, Modality.VIDEO


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One `model_type`.

    dim: where the files leave it out; it is looked for at `dim_at`.
    tokens: what its texts were cut to in training. whole: always padded to that.
    joint: modalities that it also embeds together, as one vector.
    """

    takes: frozenset[Modality]
    dim: int = 512
    dim_at: tuple[str, ...] = ("projection_dim",)
    tokens: int = 77
    whole: bool = False
    mask: bool = True
    joint: frozenset[Modality] = frozenset()


_SEES = frozenset({TEXT, IMAGE})
_SIGLIP = Family(
    takes=_SEES,
    dim=768,
    dim_at=("text_config.projection_size", "text_config.hidden_size"),
    tokens=64,
    whole=True,
    mask=False,
)

FAMILIES: Mapping[str, Family] = {
    "align": Family(takes=_SEES, dim=640, tokens=512),
    "altclip": Family(takes=_SEES, dim=768),
    "chinese_clip": Family(takes=_SEES, tokens=512),
    "clap": Family(takes=frozenset({TEXT, AUDIO}), tokens=512),
    "clip": Family(takes=_SEES),
    "clipseg": Family(takes=_SEES),
    "flava": Family(takes=_SEES, dim=768, joint=_SEES),
    "groupvit": Family(takes=_SEES, dim=256),
    "metaclip_2": Family(takes=_SEES),
    "pe_audio_video": Family(
        takes=frozenset({TEXT, AUDIO, VIDEO}),
        dim=1024,
        dim_at=("text_config.hidden_size",),
        tokens=512,
        joint=frozenset({AUDIO, VIDEO}),
    ),
    "siglip": _SIGLIP,
    "siglip2": _SIGLIP,
    "xclip": Family(takes=frozenset({TEXT, VIDEO})),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Towers:
    """What a folder of one of the families can do. frames: of a film, where that is fixed."""

    family: Family
    dim: int
    text: TextRecipe
    image: ImageRecipe | PatchRecipe | None = None
    audio: AudioRecipe | None = None
    video: ImageRecipe | None = None
    frames: int | None = None

    def __post_init__(self) -> None:
        """Raises ValueError or TypeError for numbers that make no vector."""
        within("the dimension", self.dim, SIDE)
        within("the number of frames", self.frames or 1, FRAMES)

    @property
    def modalities(self) -> frozenset[Modality]:
        """Films too, frame by frame, where pictures are taken."""
        return self.family.takes | ({VIDEO} if IMAGE in self.family.takes else set())


def towers_of(folder: ModelFolder) -> Towers:
    """Raises MissingWeights for a family that is not in the table, naming those that are."""
    kind = folder.model_type
    if kind not in FAMILIES:
        raise MissingWeights(
            f"{folder.path} is a {kind!r} model, which is no tower that is known here; the "
            f"choices are: {', '.join(FAMILIES)}, and folders of sentence-transformers"
        )
    family = FAMILIES[kind]
    return Towers(
        family=family,
        dim=int(first_of(folder.config, *family.dim_at, default=family.dim)),
        text=hf_recipes.text_recipe(
            folder, tokens=family.tokens, whole=family.whole, mask=family.mask
        ),
        image=hf_recipes.image_recipe(folder) if IMAGE in family.takes else None,
        audio=hf_recipes.audio_recipe(folder) if AUDIO in family.takes else None,
        video=hf_recipes.video_recipe(folder) if VIDEO in family.takes else None,
        frames=first_of(folder.config, "vision_config.num_frames", default=None),
    )
