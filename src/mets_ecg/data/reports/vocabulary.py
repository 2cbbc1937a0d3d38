"""A tokenizer of the words of English reports, for text encoders that are trained from the start.

Its words are those that `report_en` and `findings` are made of: the small words, and what the glossary's entries say
in English. Any other word is spelled letter by letter. It depends on no data: a recipe makes the same one anywhere.
"""

from __future__ import annotations

import re
import string

from tokenizers import Tokenizer, normalizers, pre_tokenizers
from tokenizers.models import WordPiece
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from .english import english_texts

_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def report_tokenizer() -> PreTrainedTokenizerFast:
    """Return the tokenizer; it has some 1,500 tokens."""
    letters = string.ascii_lowercase + string.digits + string.punctuation
    words = sorted({word for text in english_texts() for word in re.findall(r"[a-z]+|[0-9]+", text.lower())})
    pieces = [*letters, *(f"##{letter}" for letter in string.ascii_lowercase + string.digits)]
    tokens = list(dict.fromkeys([*_SPECIAL, *pieces, *words]))
    vocabulary = {token: i for i, token in enumerate(tokens)}
    tokenizer = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[(name, vocabulary[name]) for name in ("[CLS]", "[SEP]")]
    )
    names = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, **{f"{kind}_token": token for kind, token in names.items()}
    )
