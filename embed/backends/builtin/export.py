"""Turns the two networks of the built-in space into ONNX files, once.

Run as a program of its own, `python -m embed.backends.builtin.export text|image OUT SOURCE...`, so
that the process that serves never holds torch. Each graph is compared with its network before it is
kept. It knows nothing of caches or spaces.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnxruntime as ort
import torch
from efficientnet_lite_pytorch import EfficientNet
from safetensors.torch import load_file
from transformers import BertConfig, BertModel

TOLERANCE = 1e-4  # of any output against the network in torch; float32 rounding is about 1e-6


class TextTower(torch.nn.Module):
    """Token ids `(N, T)` int64, unpadded, to the mean of the last hidden states `(N, 384)`."""

    def __init__(self, bert: BertModel) -> None:
        super().__init__()
        self.bert = bert

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        states = self.bert(input_ids=ids).last_hidden_state
        # A product rather than a reduction: its rounding does not depend on the batch size.
        ones = torch.ones_like(ids, dtype=torch.float32)[:, None, :]
        mean: torch.Tensor = (ones @ states)[:, 0] / ids.shape[1]
        return mean


class ImageTower(torch.nn.Module):
    """Pixels `(N, 224, 224, 3)` uint8 to pooled features `(N, 1280)` and posterior `(N, 1000)`."""

    def __init__(self, network: EfficientNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        inputs = (pixels.permute(0, 3, 1, 2).float() / 255 - 0.498) / 0.502
        features = self.network.extract_features(inputs).mean((2, 3))
        return features, torch.softmax(self.network._fc(features), -1)


def text_tower(config: Path, weights: Path) -> TextTower:
    """The BERT of `config` with `weights` (safetensors), its unused pooler left out."""
    settings = BertConfig.from_dict(json.loads(config.read_text(encoding="utf-8")))
    settings._attn_implementation = "eager"  # the exporter knows its operators in every release
    bert = BertModel(settings, add_pooling_layer=False)
    known = bert.state_dict().keys()
    spare = ("pooler.", "embeddings.position_ids")
    state = {
        name: tensor
        for name, tensor in load_file(weights).items()
        if name in known or not name.startswith(spare)
    }
    bert.load_state_dict(state)
    return TextTower(bert).eval()


def image_tower(weights: Path) -> ImageTower:
    """EfficientNet-Lite0 with `weights` (a state dict; unpickled as tensors only)."""
    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    return ImageTower(network).eval()


def export_text(folder: Path, config: Path, weights: Path) -> None:
    """Writes `text.onnx`: `ids` to `mean`."""
    ids = torch.randint(1000, 2000, (3, 17), generator=torch.Generator().manual_seed(0))
    axes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("tokens", max=512)}
    tower = text_tower(config, weights)
    _export(tower, {"ids": ids}, axes, ["mean"], folder / "text.onnx")


def export_image(folder: Path, weights: Path) -> None:
    """Writes `image.onnx`: `pixels` to `features` and `posterior`."""
    shape = (2, 224, 224, 3)
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    axes = {0: torch.export.Dim("batch")}
    outputs = ["features", "posterior"]
    _export(image_tower(weights), {"pixels": pixels}, axes, outputs, folder / "image.onnx")


def _export(
    tower: torch.nn.Module,
    example: dict[str, torch.Tensor],
    axes: Mapping[int, object],
    outputs: list[str],
    path: Path,
) -> None:
    """Exports, lets ONNX Runtime fold what no machine needs to compute again, and compares."""
    (name, value), *_ = example.items()
    raw = path.with_suffix(".raw")
    program = torch.onnx.export(
        tower,
        (value,),
        dynamo=True,
        dynamic_shapes={name: dict(axes)},
        input_names=[name],
        output_names=outputs,
    )
    assert program is not None
    program.save(raw, external_data=False)
    options = ort.SessionOptions()
    options.log_severity_level = 3
    # Extended, not all: the layouts of the last level belong to the processor that chose them.
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(path)
    session = ort.InferenceSession(raw, options, providers=["CPUExecutionProvider"])
    raw.unlink()
    with torch.no_grad():
        wanted = tower(value)
    found = session.run(outputs, {name: value.numpy()})
    for want, got in zip(wanted if len(outputs) > 1 else [wanted], found, strict=True):
        gap = float(np.abs(want.numpy() - got).max())
        if not gap <= TOLERANCE:
            raise SystemExit(f"the exported {path.name} is off by {gap:.3g} from its network")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("half", choices=["text", "image"])
    parser.add_argument("out", type=Path)
    parser.add_argument("sources", type=Path, nargs="+")
    args = parser.parse_args()
    if args.half == "text":
        export_text(args.out, *args.sources)
    else:
        export_image(args.out, *args.sources)


if __name__ == "__main__":
    main()
