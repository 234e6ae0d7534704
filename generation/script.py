"""A conversation as the input of one model: its own processor, its own chat template.

A model without a template gets the plain form of Vicuna and LLaVA 1.5 (USER: … ASSISTANT:).
Strings that stand for control tokens are broken by an invisible character wherever they come from
data, so that no document ends a turn or begins a picture.
Templates run in the library's sandbox (jinja2's ImmutableSandboxedEnvironment).
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import transformers
from PIL import Image

from embed.backends.huggingface.loading import quiet
from embed.errors import BackendFailed, CrossbindError, MissingWeights
from embed.media import pieces
from embed.types import Media, Modality
from generation.folder import Card
from generation.messages import Turn, turns
from generation.showing import shown
from generation.types import Message

log = logging.getLogger(__name__)

_BREAK = "\N{ZERO WIDTH SPACE}"
_PROBE = "crossbind probe"
_PLAIN = (
    "{% for turn in messages %}"
    "{{ {'system': '', 'user': 'USER: ', 'assistant': 'ASSISTANT: '}[turn['role']] }}"
    "{{ turn['content'] }}\n"
    "{% endfor %}ASSISTANT:"
)
_PLAIN_STOP = "\nUSER:"
_KINDS = {Modality.IMAGE: "images", Modality.VIDEO: "videos", Modality.AUDIO: "audio"}

Inputs = dict[str, Any]
"""What a network's `generate` takes, as tensors."""


class Script:
    """Reads conversations, counts and spells tokens. Safe to use from several threads."""

    def __init__(self, card: Card) -> None:
        """Raises MissingWeights when the folder's tokenizer or processor cannot be made."""
        self._card = card
        self._processor = _open(card)
        self._tokenizer = getattr(self._processor, "tokenizer", self._processor)
        template = self._processor.chat_template or self._tokenizer.chat_template
        self._template = template or _PLAIN
        self._plain = not template
        if self._plain:
            log.warning("%s has no chat template: it is asked in the plain form", card.name)
        # A model that can think aloud first would spend the answer's tokens on it.
        self._settings = {"enable_thinking": False} if "enable_thinking" in str(template) else {}
        self.stops = (_PLAIN_STOP,) if self._plain else ()
        self._turn = threading.Lock()  # tokenizers are not for several threads at once
        self._control = _control_tokens(self._processor, self._tokenizer, str(template or ""))
        self._in_parts = not self._plain and self._renders([{"type": "text", "text": _PROBE}])
        self._in_order = self._in_parts and self._keeps_order()
        self._system = self._renders(self._content([Media(Modality.TEXT, _PROBE)]), "system")

    def count(self, text: str) -> int:
        """Tokens of `text` as data."""
        with self._turn:
            ids = self._tokenizer.encode(self._defused(text), add_special_tokens=False)
        return len(ids)

    def spell(self, ids: Sequence[int]) -> str:
        """The text of tokens, control tokens left out."""
        with self._turn:
            text: str = self._tokenizer.decode(
                list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False
            )
        return text

    def read(self, messages: Sequence[Message]) -> Inputs:
        """The inputs of one conversation, on the CPU. Raises BackendFailed and what media raise."""
        card = self._card
        show = partial(shown, takes=card.inputs, taste=card.taste, films=card.films)
        try:
            conversation = turns(messages, show, system=self._system)
            with self._turn:
                return self._inputs(conversation)
        except CrossbindError:
            raise
        except Exception as error:  # templates and processors raise what they like
            raise BackendFailed(
                f"{card.name} cannot read this conversation: {type(error).__name__}: {error}"
            ) from error

    def _inputs(self, conversation: Sequence[Turn]) -> Inputs:
        text = self._rendered(
            [{"role": turn.role, "content": self._content(turn.parts)} for turn in conversation]
        )
        media = [part for turn in conversation for part in turn.parts if part.modality in _KINDS]
        opened = bool(self._tokenizer.bos_token) and text.startswith(self._tokenizer.bos_token)
        apart = self._processor is not self._tokenizer
        settings = {"add_special_tokens": (apart or self._plain) and not opened}
        if apart:
            settings |= self._media(media)
        return dict(self._processor(text=[text], return_tensors="pt", **settings))

    def _media(self, media: Sequence[Media]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        pictures = [Image.fromarray(_array(m)) for m in media if m.modality is Modality.IMAGE]
        films = [m for m in media if m.modality is Modality.VIDEO]
        sounds = [m for m in media if m.modality is Modality.AUDIO]
        if pictures:
            found["images"] = [pictures]
        if films:
            found["videos"] = [[_array(film) for film in films]]
            found["videos_kwargs"] = {"do_sample_frames": False}
            found["video_metadata"] = [[_described(film) for film in films]]
        if sounds:
            extractor = getattr(self._processor, "feature_extractor", None)
            rate = int(getattr(extractor, "sampling_rate", 16_000))
            found["audio"] = [pieces.samples(sound, rate) for sound in sounds]
            found["audio_kwargs"] = {"sampling_rate": rate}
        return found

    def _content(self, parts: Sequence[Media]) -> Any:
        """A turn's content as the template takes it: a list of parts, or one string."""
        if self._in_order:
            return [self._part(part) for part in parts]
        kinds = [part.modality for part in parts]
        said = (
            self._defused(part.data)
            if isinstance(part.data, str)
            else self._place(part.modality, kinds[: n + 1].count(part.modality))
            for n, part in enumerate(parts)
        )
        text = "\n".join(filter(None, said))
        if not self._in_parts:
            return text
        media = [self._part(part) for part in parts if not isinstance(part.data, str)]
        return [*media, {"type": "text", "text": text}] if text else media

    def _part(self, part: Media) -> dict[str, str]:
        if isinstance(part.data, str):
            return {"type": "text", "text": self._defused(part.data)}
        return {"type": str(part.modality)}

    def _place(self, modality: Modality, number: int) -> str:
        """What stands for a medium among words: its number where the template puts media first,
        its token where it does not know them; BLIP's processors put that there themselves."""
        if self._in_parts:
            return f"({modality} {number})"
        if hasattr(self._processor, "num_query_tokens"):
            return ""
        return str(getattr(self._processor, f"{modality}_token", None) or "")

    def _rendered(self, conversation: Sequence[dict[str, Any]]) -> str:
        text: str = self._processor.apply_chat_template(
            list(conversation),
            # One of several of a model's own is chosen by the library.
            chat_template=self._template if isinstance(self._template, str) else None,
            tokenize=False,
            add_generation_prompt=True,
            **self._settings,
        )
        return text

    def _renders(self, content: Any, role: str = "user") -> bool:
        """Whether the template takes such a turn and writes out what it says, and no more."""
        question = "x" if isinstance(content, str) else [{"type": "text", "text": "x"}]
        after = [{"role": "user", "content": question}] if role == "system" else []
        try:
            text = self._rendered([{"role": role, "content": content}, *after])
        except Exception as error:  # noqa: BLE001  a template refuses by raising
            log.debug("%s: no %s turn like this: %s", self._card.name, role, error)
            return False
        return _PROBE in text and "'type'" not in text

    def _keeps_order(self) -> bool:
        """Whether pictures stay between the words that they come between."""
        if Modality.IMAGE not in self._card.inputs:
            return True
        words = [{"type": "text", "text": text} for text in (_PROBE, _PROBE[::-1])]
        try:
            text = self._rendered(
                [{"role": "user", "content": [words[0], {"type": "image"}, words[1]]}]
            )
        except Exception as error:  # noqa: BLE001  a template refuses by raising
            log.debug("%s: no picture between words: %s", self._card.name, error)
            return True
        between = text.partition(_PROBE)[2].partition(_PROBE[::-1])[0]
        return bool(between.strip())

    def _defused(self, text: str) -> str:
        """`text` without control tokens: each is broken behind its first character."""
        if self._control is None:
            return text
        return self._control.sub(lambda match: match[0] + _BREAK, text)


def _open(card: Card) -> Any:
    kind = "AutoProcessor" if card.inputs > {Modality.TEXT} else "AutoTokenizer"
    try:
        with quiet():
            return getattr(transformers, kind).from_pretrained(
                card.folder.path, local_files_only=True, trust_remote_code=False
            )
    except Exception as error:  # the library raises what its file formats raise
        raise MissingWeights(
            f"{card.folder.path} holds no tokenizer or processor that can be read: {error}"
        ) from error


def _control_tokens(processor: Any, tokenizer: Any, template: str) -> re.Pattern[str] | None:
    """The first characters of all control tokens: the special ones, those that stand for media, and
    added ones that the template writes itself."""
    added = getattr(tokenizer, "added_tokens_decoder", {}).values()
    found = {str(token) for token in added if token.special or str(token) in template}
    found |= {str(token) for token in tokenizer.all_special_tokens}
    found |= {str(getattr(processor, f"{kind}_token", None) or "") for kind in _KINDS}
    tokens = sorted(token for token in found if len(token.strip()) > 1)
    begun = [f"{re.escape(token[0])}(?={re.escape(token[1:])})" for token in tokens]
    return re.compile("|".join(begun)) if begun else None


def _array(part: Media) -> np.ndarray[Any, Any]:
    assert isinstance(part.data, np.ndarray)
    return part.data


def _described(film: Media) -> dict[str, Any]:
    """What processors ask of a film that is frames already."""
    count, rate = len(_array(film)), film.rate or 1.0
    return {
        "total_num_frames": count,
        "fps": rate,
        "duration": count / rate,
        "frames_indices": list(range(count)),
    }
