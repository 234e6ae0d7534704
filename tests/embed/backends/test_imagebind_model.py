"""ImageBind's network: the official names and sizes at full width, each stage's formula at tiny."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from embed.backends.imagebind.config import HUGE, SCALES, TOWERS, Config, Shape
from embed.backends.imagebind.model import Attention, Block, EndOfText, ImageBind, Scale
from embed.backends.imagebind.stems import make_input

TINY = Config(
    vision=Shape(16, 2, 2),
    text=Shape(12, 2, 2),
    audio=Shape(8, 2, 2),
    depth=Shape(8, 1, 2),
    thermal=Shape(12, 1, 3),
    imu=Shape(8, 1, 2),
    joint=10,
)
INPUTS = {
    "vision": (3, 1, 224, 224),
    "audio": (1, 128, 204),
    "depth": (1, 224, 224),
    "thermal": (1, 224, 224),
    "imu": (6, 2000),
}


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def filled(module: nn.Module) -> nn.Module:
    """Random weights everywhere, layer norms included."""
    for name, parameter in module.named_parameters():
        if "log_logit_scale" not in name:
            nn.init.normal_(parameter, std=0.3)
    return module.eval().requires_grad_(False)


def official() -> dict[str, tuple[int, ...]]:
    """Name and shape of each tensor of the official checkpoint; `{0-11}` counts blocks."""
    listing = Path(__file__).with_name("imagebind_huge_keys.txt").read_text().splitlines()
    shapes = {}
    for line in listing:
        name, _, numbers = line.partition(" ")
        shape = () if numbers == "scalar" else tuple(map(int, numbers.split("x")))
        span = re.search(r"\{(\d+)-(\d+)\}", name)
        blocks = range(int(span[1]), int(span[2]) + 1) if span else [0]
        shapes |= {re.sub(r"\{.*\}", str(block), name): shape for block in blocks}
    return shapes


def test_full_width_has_the_official_names_shapes_and_counts() -> None:
    with torch.device("meta"):
        state = ImageBind(HUGE).state_dict()
    assert {name: tuple(value.shape) for name, value in state.items()} == official()
    assert all(value.dtype == torch.float32 for value in state.values())
    counts = dict.fromkeys(TOWERS, 0)
    for name, value in state.items():
        counts[name.split(".")[1]] += value.numel()
    assert len(state) == 1311
    assert sum(counts.values()) == 1_200_786_990
    assert {tower: round(count / 1e6) for tower, count in counts.items()} == {
        "vision": 633,
        "text": 354,
        "audio": 86,
        "depth": 22,
        "thermal": 86,
        "imu": 20,
    }


def test_full_width_takes_its_inputs() -> None:
    with torch.device("meta"):
        model = ImageBind(HUGE)
        found = {tower: model(tower, torch.empty(2, *shape)) for tower, shape in INPUTS.items()}
        found["text"] = model("text", torch.empty(2, 77, dtype=torch.long))
    assert {tower: tuple(rows.shape) for tower, rows in found.items()} == dict.fromkeys(
        TOWERS, (2, 1024)
    )


def test_one_tower_has_only_its_own_names() -> None:
    whole = ImageBind(TINY).state_dict()
    for tower in TOWERS:
        alone = ImageBind(TINY, [tower]).state_dict()
        assert list(alone) == [name for name in whole if name.split(".")[1] == tower]


def test_norms_have_the_right_epsilon() -> None:
    for name, module in ImageBind(TINY).named_modules():
        if isinstance(module, nn.LayerNorm):
            assert module.eps == (1e-5 if "stem" in name else 1e-6), name


# Stems.


def test_a_still_is_a_film_of_two_equal_frames() -> None:
    inputs = filled(make_input("vision", 4))
    still = torch.randn(2, 3, 1, 224, 224)
    torch.testing.assert_close(inputs(still), inputs(still.repeat(1, 1, 2, 1, 1)))


def test_vision_token_is_the_kernel_on_its_patch() -> None:
    inputs = filled(make_input("vision", 4))
    frames = torch.randn(1, 3, 2, 224, 224)
    tokens = inputs(frames)[0]
    kernel = inputs.rgbt_stem.proj[1].weight
    positions = inputs.pos_embedding_helper.pos_embed[0]
    assert tokens.shape == (257, 4)
    torch.testing.assert_close(tokens[0], inputs.cls_token[0, 0] + positions[0])
    row, column = 3, 5
    patch = frames[0, :, :, row * 14 : row * 14 + 14, column * 14 : column * 14 + 14]
    wanted = (kernel * patch).sum(dim=(1, 2, 3, 4))
    place = 1 + row * 16 + column
    torch.testing.assert_close(tokens[place], wanted + positions[place], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("tower", "stem", "stride", "rows", "columns"),
    [
        ("audio", "rgbt_stem", 10, 12, 19),
        ("depth", "depth_stem", 16, 14, 14),
        ("thermal", "rgbt_stem", 16, 14, 14),
    ],
)
def test_other_patches_are_normalised(
    tower: str, stem: str, stride: int, rows: int, columns: int
) -> None:
    inputs = filled(make_input(tower, 4))
    picture = torch.randn(1, *INPUTS[tower])
    tokens = inputs(picture)[0]
    assert tokens.shape == (1 + rows * columns, 4)
    module = inputs.get_submodule(stem)
    row, column = rows - 1, 2
    patch = picture[0, :, row * stride : row * stride + 16, column * stride : column * stride + 16]
    projected = (module.proj.weight * patch).sum(dim=(1, 2, 3))
    centred = projected - projected.mean()
    normed = centred / torch.sqrt(projected.var(correction=0) + 1e-5)
    wanted = normed * module.norm_layer.weight + module.norm_layer.bias
    place = 1 + row * columns + column
    positions = inputs.pos_embedding_helper.pos_embed[0]
    torch.testing.assert_close(tokens[place], wanted + positions[place], atol=1e-4, rtol=1e-4)


def test_motion_token_is_eight_steps_of_six_channels() -> None:
    inputs = filled(make_input("imu", 4))
    motion = torch.randn(1, 6, 2000)
    tokens = inputs(motion)[0]
    assert tokens.shape == (251, 4)
    patch = motion[0, :, 16:24].flatten()
    stem = inputs.imu_stem
    wanted = stem.norm_layer(stem.proj.weight @ patch) + inputs.pos_embed[0, 3]
    torch.testing.assert_close(tokens[3], wanted)


def test_words_are_embedded_and_blind_to_what_follows() -> None:
    inputs = filled(make_input("text", 4))
    ids = torch.tensor([[49_406, 320, 49_407]])
    wanted = inputs.token_embedding.weight[ids] + inputs.pos_embed[:, :3]
    torch.testing.assert_close(inputs(ids), wanted)
    mask = inputs.causal(3)
    assert mask.tolist() == [[0, -math.inf, -math.inf], [0, 0, -math.inf], [0, 0, 0]]


# The trunk.


@pytest.mark.parametrize(("bias_kv", "causal"), [(False, False), (False, True), (True, False)])
def test_attention_is_that_of_torch(bias_kv: bool, causal: bool) -> None:
    ours = filled(Attention(12, 3, bias_kv=bias_kv))
    theirs = nn.MultiheadAttention(12, 3, add_bias_kv=bias_kv, batch_first=True).eval()
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 5, 12)
    later = torch.full((5, 5), -math.inf).triu(1) if causal else None
    wanted, _ = theirs(x, x, x, attn_mask=later, need_weights=False)
    torch.testing.assert_close(ours(x, later), wanted, atol=1e-5, rtol=1e-5)


def test_the_learned_key_draws_attention_away() -> None:
    attention = filled(Attention(4, 1, bias_kv=True))
    x = torch.randn(1, 3, 4)
    q, k, v = (x @ attention.in_proj_weight.T + attention.in_proj_bias).split(4, dim=-1)
    k = torch.cat([k, attention.bias_k], dim=1)
    v = torch.cat([v, attention.bias_v], dim=1)
    shares = torch.softmax(q @ k.transpose(1, 2) / 2.0, dim=-1)
    assert shares.shape == (1, 3, 4)
    torch.testing.assert_close(attention(x, None), attention.out_proj(shares @ v))


def test_a_block_is_two_residuals_with_the_exact_gelu() -> None:
    block = filled(Block(8, 2, bias_kv=False))
    x = torch.randn(2, 5, 8)
    middle = x + block.attn(block.norm_1(x), None)
    inside = block.mlp.fc1(block.norm_2(middle))
    gelu = inside * 0.5 * (1.0 + torch.erf(inside / math.sqrt(2.0)))
    torch.testing.assert_close(block(x, None), middle + block.mlp.fc2(gelu))


def test_only_vision_is_normalised_before_its_blocks() -> None:
    model = filled(ImageBind(TINY))
    for tower, trunk in model.modality_trunks.items():
        tokens = torch.randn(1, 4, trunk.blocks[0].norm_1.normalized_shape[0])
        x = trunk.pre_transformer_layer[0](tokens) if tower == "vision" else tokens
        assert len(trunk.pre_transformer_layer) == (tower == "vision")
        assert (trunk.blocks[0].attn.bias_k is None) == (tower in ("vision", "text"))
        for block in trunk.blocks:
            x = block(x, None)
        torch.testing.assert_close(trunk(tokens), x)


def test_padding_after_the_end_changes_nothing() -> None:
    model = filled(ImageBind(TINY, ["text"]))
    ids = torch.tensor([[49_406, 320, 2368, 49_407]])
    padded = torch.cat([ids, torch.zeros(1, 73, dtype=torch.long)], dim=1)
    short, long = (nn.functional.normalize(model("text", part)) for part in (ids, padded))
    torch.testing.assert_close(short, long, atol=2e-6, rtol=0)


# Heads and scales.


@pytest.mark.parametrize("tower", ["vision", "audio", "depth", "thermal", "imu"])
def test_the_class_token_is_read(tower: str) -> None:
    head = filled(ImageBind(TINY)).modality_heads[tower]
    norm, proj = head[0], head[-1]
    x = torch.randn(2, 5, norm.normalized_shape[0])
    torch.testing.assert_close(head(x), norm(x[:, 0]) @ proj.weight.T)


def test_text_is_read_at_its_first_end() -> None:
    head = filled(EndOfText(nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 3, bias=False))))
    x = torch.randn(2, 4, 4)
    ids = torch.tensor([[49_406, 49_407, 0, 0], [49_406, 5, 49_407, 49_407]])
    torch.testing.assert_close(head(x, ids), head.proj(torch.stack([x[0, 1], x[1, 2]])))


def test_each_tower_has_its_length() -> None:
    model = filled(ImageBind(TINY))
    rows: dict[str, Tensor] = {t: model(t, torch.randn(2, *s)) for t, s in INPUTS.items()}
    rows["text"] = model("text", torch.tensor([[49_406, 320, 49_407]]))
    lengths = {tower: float(row[0].norm()) for tower, row in rows.items()}
    assert lengths == pytest.approx({"vision": 1.0, **SCALES}, rel=1e-5)
    assert (
        pytest.approx({"text": 1 / 0.07, "audio": 20, "depth": 5, "thermal": 10, "imu": 5})
        == SCALES
    )


def test_the_scale_is_learned_for_text_alone_and_capped() -> None:
    model = ImageBind(TINY)
    learned = [name for name, _ in model.named_parameters() if "scale" in name]
    assert learned == ["modality_postprocessors.text.1.log_logit_scale"]
    scale = Scale(20.0, learned=True)
    with torch.no_grad():
        scale.log_logit_scale.fill_(9.0)
        torch.testing.assert_close(scale(torch.ones(3)), torch.full((3,), 100.0))
