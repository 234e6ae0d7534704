"""Random weights for all peers: an open_clip folder and a transformers folder of one shape.

    python benchmarks/peers/models.py ViT-B-32 build/models/ViT-B-32

Speed does not depend on the values, so the two are not the same weights. Both have QuickGELU, as
OpenAI's have. The tokenizer is written from the vocabulary in the open_clip package.
"""

from __future__ import annotations

import argparse
import gzip
import importlib.util
import json
import sys
from pathlib import Path

import open_clip
import torch
from safetensors.torch import save_file
from transformers import CLIPConfig, CLIPModel

MERGES = 49_152 - 256 - 2
SHAPES = {
    "ViT-B-32": {},
    "ViT-L-14": {
        "projection_dim": 768,
        "vision_config": {
            "hidden_size": 1024,
            "intermediate_size": 4096,
            "num_hidden_layers": 24,
            "num_attention_heads": 16,
            "patch_size": 14,
            "projection_dim": 768,
        },
        "text_config": {
            "hidden_size": 768,
            "intermediate_size": 3072,
            "num_attention_heads": 12,
            "projection_dim": 768,
        },
    },
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("architecture", choices=SHAPES)
    parser.add_argument("folder", type=Path)
    args = parser.parse_args()
    make(args.architecture, args.folder)
    return 0


def make(architecture: str, folder: Path) -> None:
    """Fills `folder/open_clip` and `folder/hf`; what is whole is left alone."""
    if (folder / "done").is_file():
        return
    torch.manual_seed(0)
    _open_clip(architecture, folder / "open_clip")
    _transformers(architecture, folder / "hf")
    (folder / "done").touch()


def _open_clip(architecture: str, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    config = {**open_clip.get_model_config(architecture), "quick_gelu": True}
    document = {"model_cfg": config, "preprocess_cfg": {}}
    (folder / "open_clip_config.json").write_text(json.dumps(document), encoding="utf-8")
    weights = open_clip.CLIP(**config).state_dict()
    save_file(
        {k: v.contiguous() for k, v in weights.items()}, folder / "open_clip_model.safetensors"
    )


def _transformers(architecture: str, folder: Path) -> None:
    marks = {"bos_token_id": 49406, "eos_token_id": 49407, "pad_token_id": 49407}
    shape = dict(SHAPES[architecture])
    shape["text_config"] = {**shape.get("text_config", {}), **marks}
    CLIPModel(CLIPConfig(**shape)).save_pretrained(folder)
    _tokenizer(folder)
    size = {"shortest_edge": 224}
    processor = {
        "image_processor_type": "CLIPImageProcessor",
        "processor_class": "CLIPProcessor",
        "do_resize": True,
        "size": size,
        "resample": 3,
        "do_center_crop": True,
        "crop_size": {"height": 224, "width": 224},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "do_convert_rgb": True,
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711],
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(processor), encoding="utf-8")


def _tokenizer(folder: Path) -> None:
    spec = importlib.util.find_spec("open_clip")
    path = Path(spec.submodule_search_locations[0], "bpe_simple_vocab_16e6.txt.gz")
    merges = gzip.decompress(path.read_bytes()).decode("utf-8").split("\n")[1 : MERGES + 1]
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    letters = [chr(n) for n in (*printable, *range(0x100, 0x100 + 256 - len(printable)))]
    words = ["".join(merge.split()) for merge in merges]
    tokens = [*letters, *(letter + "</w>" for letter in letters), *words]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]), encoding="utf-8")
    settings = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": 77,
        "bos_token": "<|startoftext|>",
        "eos_token": "<|endoftext|>",
        "pad_token": "<|endoftext|>",
        "unk_token": "<|endoftext|>",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
