"""Learned prompts: towers of three libraries, hand-written prompts as a start, a few shots."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from safetensors.numpy import save_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize
from transformers import CLIPTextConfig, CLIPTextModelWithProjection

from embed.backends.openclip import clip_bpe, network
from embed.backends.recipes import TextRecipe
from embed.backends.trained import networks, shapes
from embed.backends.words import Words
from embed.errors import BadInput, MissingWeights, TooLarge
from embed.training.prompts import LearnedPrompts, learn, read, shots, write

NAMES = ["cat", "house plant", "submarine", "violin"]
VOCABULARY = 49_408


class TransformersClip(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2}
        small |= {"num_attention_heads": 2, "projection_dim": 12}
        marks = {"bos_token_id": VOCABULARY - 2, "eos_token_id": VOCABULARY - 1}
        config = CLIPTextConfig(**small, **marks, vocab_size=VOCABULARY)
        self.model = CLIPTextModelWithProjection(config)

    def forward(self, ids: Tensor) -> Tensor:
        made: Tensor = self.model(input_ids=ids).text_embeds
        return made


def open_clip_text() -> nn.Module:
    seeing = {"layers": 1, "width": 16, "head_width": 8, "image_size": 16, "patch_size": 8}
    reading = {"layers": 2, "width": 16, "heads": 2}
    return network.texts(open_clip.CLIP(12, seeing, reading))


def our_own() -> nn.Module:
    shape = shapes.Words(width=16, depth=2, heads=2, vocabulary=VOCABULARY)
    return networks.Words(shape, 77, 12)


TOWERS = {"open_clip": open_clip_text, "transformers": TransformersClip, "ours": our_own}


def tower(name: str, cache: Path) -> tuple[nn.Module, Words]:
    torch.manual_seed(0)
    recipe = TextRecipe(
        tokenizer="tokenizer.json", max_tokens=77, mask=name == "ours", clean="lower"
    )
    return TOWERS[name](), Words(recipe, clip_bpe.tokenizer_folder(cache))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.mark.parametrize("name", TOWERS)
def test_a_hand_written_prompt_is_where_it_may_begin(name: str, cache: Path) -> None:
    module, words = tower(name, cache)
    prompts = LearnedPrompts(module, words, NAMES, "a photo of a")
    arrays = words.pad([words.encode(f"a photo of a {one}") for one in NAMES])
    inputs = map(torch.from_numpy, arrays if words.recipe.mask else arrays[:1])
    with torch.no_grad():
        wanted = normalize(module(*inputs), dim=1)
    assert prompts.context.shape == (4, 16)
    torch.testing.assert_close(prompts().detach(), wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", TOWERS)
def test_a_few_examples_teach_the_context_and_nothing_else(name: str, cache: Path) -> None:
    module, words = tower(name, cache)
    frozen = {key: value.clone() for key, value in module.state_dict().items()}
    torch.manual_seed(1)
    prompts = LearnedPrompts(module, words, NAMES, 4)
    assert list(prompts.state_dict()) == ["context"]

    other = LearnedPrompts(module, words, NAMES, 4)  # whose context is what is to be found
    nn.init.normal_(other.context, std=1.0)
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), 40)
    centres = other().detach().numpy()
    centred = centres - centres.mean(0)
    noise = rng.normal(size=(160, 12)) * np.abs(centred).mean() / 2
    features = normalize(torch.tensor(centres[labels] + noise), dim=1).numpy().astype(np.float32)

    rows = shots(labels, 16)
    unseen = np.setdiff1d(np.arange(160), rows)

    def loss_on_unseen() -> float:
        with torch.no_grad():
            logits = 100 * torch.from_numpy(features[unseen]) @ prompts().T
        return float(cross_entropy(logits, torch.from_numpy(labels[unseen])))

    before = loss_on_unseen()
    losses = learn(prompts, features[rows], labels[rows], epochs=30)
    assert losses[-1] < 0.8 * losses[0]
    assert loss_on_unseen() < 0.8 * before
    for key, value in module.state_dict().items():
        assert torch.equal(value, frozen[key])


def test_shots_are_so_many_of_each_class() -> None:
    labels = np.array([0] * 9 + [1] * 3 + [2] * 20)
    rows = shots(labels, 5, seed=3)
    assert np.bincount(labels[rows]).tolist() == [5, 3, 5]
    assert shots(labels, 5, seed=3).tolist() == rows.tolist()
    assert shots(labels, 5, seed=4).tolist() != rows.tolist()


def test_a_prompt_file_is_read_as_it_was_written(cache: Path, tmp_path: Path) -> None:
    prompts = LearnedPrompts(*tower("open_clip", cache), NAMES, 3)
    write(prompts, tmp_path / "a.safetensors", "clip@0123")
    found = read(tmp_path / "a.safetensors")
    assert (found.names, found.space) == (tuple(NAMES), "clip@0123")
    assert np.array_equal(found.vectors, prompts().detach().numpy())
    with pytest.raises(MissingWeights, match="learn one first"):
        read(tmp_path / "b.safetensors")
    save_file({"other": found.vectors}, tmp_path / "c.safetensors")
    (tmp_path / "d.safetensors").write_bytes(b"{}")
    for name in ("c", "d"):
        with pytest.raises(BadInput, match="no prompt file"):
            read(tmp_path / f"{name}.safetensors")


def test_what_cannot_be_prompted_is_refused(cache: Path) -> None:
    module, words = tower("open_clip", cache)
    with pytest.raises(TooLarge, match="'cat' has 3 tokens and the prompt 75"):
        LearnedPrompts(module, words, NAMES, 75)
    with pytest.raises(BadInput, match="looks no tokens up"):
        LearnedPrompts(nn.EmbeddingBag(VOCABULARY, 4), words, NAMES)
