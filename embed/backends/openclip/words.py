"""How open_clip's text towers read: CLIP's byte pairs, or a tokenizer of the hub, after cleaning.

SigLIP and its kin name a tokenizer on the hub, which transformers opens and which is kept as one
JSON file. open_clip cleans texts before either, by the model's configuration. It knows no network.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tokenizers.processors import TemplateProcessing

from embed.backends.cleaning import Cleaning
from embed.backends.openclip import clip_bpe
from embed.backends.openclip.models import Model
from embed.backends.recipes import TextRecipe
from embed.backends.words import Words
from embed.errors import MissingWeights, NotAvailable
from embed.registry import LoadOptions
from embed.weights import store
from embed.weights.folder import revision_of

TOKENIZER = "tokenizer.json"
PAD_ID = "pad_id.txt"
VERSION = "1"  # raise it when the file is written otherwise
_ONE_TOKEN = ("argmax", "eos")  # pooled there, behind a causal mask: padding is never read


def recipe(model: Model) -> TextRecipe:
    """Padded to the longest of a batch where the network cannot tell: see `_ONE_TOKEN`."""
    text = model.text
    causal = not text.get("no_causal_mask") and not text.get("embed_cls")
    one_token = causal and text.get("pool_type", "argmax") in _ONE_TOKEN
    masked = "hf_model_name" in text  # it makes its own mask from the padding
    settings = text.get("tokenizer_kwargs") or {}
    usual: Cleaning = "whitespace" if text.get("hf_tokenizer_name") else "lower"
    return TextRecipe(
        tokenizer=TOKENIZER,
        max_tokens=model.context,
        padding="longest" if one_token or masked else "max",
        mask=False,
        clean=settings.get("clean", usual),
    )


def words(model: Model, options: LoadOptions) -> Words:
    """Raises MissingWeights where the tokenizer is on a hub that cannot be asked."""
    name = model.text.get("hf_tokenizer_name")
    settings = model.text.get("tokenizer_kwargs") or {}
    if model.text.get("tokenizer_mode") or set(settings) - {"clean", "strip_sep_token"}:
        raise NotAvailable(
            f"the tokenizer of {model.source} has settings that are not known here: "
            f"{model.text.get('tokenizer_mode') or ''} {settings}"
        )
    if not name:
        return Words(recipe(model), clip_bpe.tokenizer_folder(options.cache))
    # An open_clip folder brings the tokenizer that its configuration names.
    source, revision = str(name), str(name)
    if model.tokenizer is not None:
        source, revision = str(model.tokenizer), revision_of(model.tokenizer, options.cache)
    bare = bool(settings.get("strip_sep_token"))
    made = store.derived(
        options.cache,
        "open-clip-words",
        store.fingerprint([], VERSION, revision, str(bare)),
        lambda out: _save(source, out, offline=options.offline, bare=bare),
    )
    pad_id = int((made / PAD_ID).read_text(encoding="ascii"))
    return Words(replace(recipe(model), pad_id=pad_id), made)


def _save(source: str, out: Path, *, offline: bool, bare: bool) -> None:
    """Writes the tokenizer that transformers opens under `source`, and its padding.

    bare: without the end mark, as CLIPA was trained.
    """
    from transformers import AutoTokenizer  # noqa: PLC0415 (loads transformers)

    try:
        opened = AutoTokenizer.from_pretrained(source, local_files_only=offline)
        tokenizer = opened.backend_tokenizer
    except Exception as error:  # OSError, ValueError, AttributeError, ImportError: by version
        reason = str(error).strip().split("\n")[0]
        raise MissingWeights(
            f"the tokenizer {source} is not here and was not fetched ({reason}): fetch it once "
            f"where there is a network, `hf download {source}`"
        ) from error
    if bare:
        start = opened.cls_token
        tokenizer.post_processor = TemplateProcessing(
            single=f"{start} $A", special_tokens=[(start, opened.cls_token_id)]
        )
    tokenizer.save(str(out / TOKENIZER))
    (out / PAD_ID).write_text(str(opened.pad_token_id), encoding="ascii")
