"""PE-AV, the audiovisual perception encoder (`PeAudioVideoModel`), as `Core` runs it.

Sounds, films and both together each have a head into the width of the text network, and the text
network has one head for each of the three; all pairs were trained together, sounds against films
too. A text has one vector here: the mean of its three heads' unit vectors. The towers are called
by their parts, since the library's own `get_*_embeds` are broken in places (transformers 5.23).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize
from transformers import PreTrainedModel

from embed.backends.huggingface.networks import Normalised
from embed.backends.recipes import ImageRecipe


class PerceptionTexts(nn.Module):
    """Ids and mask `(N, L)` to rows."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model: Any = model

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        found = self.model.text_model(
            input_ids=ids, attention_mask=mask, output_hidden_states=True, return_dict=True
        )
        first = found.hidden_states[-1][:, 0]
        heads = (
            self.model.audio_model.text_audio_head,
            self.model.video_model.text_video_head,
            self.model.text_audio_video_head,
        )
        return torch.stack([normalize(head(first), dim=-1) for head in heads]).mean(0)


class PerceptionSounds(nn.Module):
    """Samples `(N, 1, S)` to rows."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model: Any = model

    def forward(self, samples: Tensor) -> Tensor:
        found = self.model.audio_model.audio_encoder(samples.to(self.model.dtype))
        row: Tensor = self.model.audio_model.audio_head(found.pooler_output)
        return row


class PerceptionFilms(nn.Module):
    """Frames `(N, T, H, W, 3)` uint8 to rows."""

    def __init__(self, model: PreTrainedModel, recipe: ImageRecipe) -> None:
        super().__init__()
        self.model: Any = model
        self.normalised = Normalised(recipe)

    def forward(self, frames: Tensor) -> Tensor:
        values = self.normalised(frames).to(self.model.dtype)
        found = self.model.video_model.video_encoder(values)
        row: Tensor = self.model.video_model.video_head(found.pooler_output)
        return row


class PerceptionPairs(nn.Module):
    """Samples and frames of one film to one row.

    The library stretches frames to sounds by asking what lengths they have, which no exporter can
    follow; here it is one gather for all of them.
    """

    def __init__(self, model: PreTrainedModel, recipe: ImageRecipe) -> None:
        super().__init__()
        self.model: Any = model
        both: Any = model.audio_video_encoder
        both.embedder._align_video_hidden_state = stretched
        self.normalised = Normalised(recipe)

    def forward(self, samples: Tensor, frames: Tensor) -> Tensor:
        found = self.model.audio_video_encoder(
            input_values=samples.to(self.model.dtype),
            pixel_values_videos=self.normalised(frames).to(self.model.dtype),
        )
        row: Tensor = self.model.audio_video_head(found.pooler_output)
        return row


def stretched(video_hidden_state: Tensor, audio_hidden_state: Tensor, **_: None) -> Tensor:
    """Frames `(N, T, D)` to the length of sounds `(N, S, D)`: at place i the frame ⌊i · T / S⌋.

    In float32 and capped, as `torch.nn.functional.interpolate` has "nearest".
    """
    frames, length = video_hidden_state.shape[1], audio_hidden_state.shape[1]
    device = video_hidden_state.device
    scale = torch.scalar_tensor(frames, device=device) / torch.scalar_tensor(length, device=device)
    nearest = (torch.arange(length, device=device).float() * scale).long()
    return video_hidden_state[:, nearest.clamp(max=frames - 1)]
