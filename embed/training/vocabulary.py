"""A tokenizer made of captions: byte pairs, so that no word is unknown.

Sennrich et al. (2016), on bytes as GPT-2 has them, in lower case. The same captions give the same
file. It knows no network.
"""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from tokenizers.trainers import BpeTrainer

PAD, START, END = "<pad>", "<s>", "</s>"
MOST = 200_000  # captions say enough


def vocabulary(captions: Iterable[str], size: int) -> Tokenizer:
    """At most `size` tokens (but all bytes are among them); padding is 0, a text is <s> … </s>."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = BpeTrainer(
        vocab_size=size,
        special_tokens=[PAD, START, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(captions, trainer)
    ids = [(token, tokenizer.token_to_id(token)) for token in (START, END)]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}", special_tokens=ids
    )
    return tokenizer
