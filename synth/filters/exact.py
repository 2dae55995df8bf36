"""Exact duplicates: texts that are equal once case, width and white space are levelled.

    groups = exact_groups(texts)
    keep = keep_one(groups, priority=scores)

Texts are read one at a time and only two 16-byte hashes of each are held: a million texts need under 150 MB.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

import numpy as np

from pica.synth.filters.groups import Groups, content_key, groups_of, keys_of

_NOT_WORD = re.compile(r"[\W_]+")


def normalise(text: str, *, keep_case: bool = False, keep_punctuation: bool = True) -> str:
    """The form in which two texts are compared.

    Unicode NFKC (full-width forms, ligatures and composed accents become one form), then casefold unless `keep_case`,
    then every run of white space as one space, with none at the ends. Without `keep_punctuation` every run of
    characters that are neither letters nor digits becomes a space as well, so texts of symbols alone become empty.
    """
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    if not keep_case:
        text = text.casefold()
        if not text.isascii():
            text = unicodedata.normalize("NFKC", text)  # casefold can undo the normal form
    if not keep_punctuation:
        text = _NOT_WORD.sub(" ", text)
    return " ".join(text.split())


def exact_groups(texts: Iterable[str], *, keep_case: bool = False, keep_punctuation: bool = True) -> Groups:
    """Groups of texts that are equal after `normalise`. Empty texts equal each other. A stream of texts will do."""
    own, levelled = bytearray(), bytearray()
    for text in texts:
        own += content_key(text)
        levelled += content_key(normalise(text, keep_case=keep_case, keep_punctuation=keep_punctuation))
    _, roots = np.unique(keys_of(levelled), return_inverse=True)
    settings = {"method": "exact", "keep_case": keep_case, "keep_punctuation": keep_punctuation}
    return groups_of(roots.astype(np.int64, copy=False), keys_of(own), settings)
