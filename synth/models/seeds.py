"""What engines of this process check in a request, and how they derive a seed for each sample."""

from __future__ import annotations

import hashlib

from pica.synth.errors import BadRequest
from pica.synth.models.base import Request


def sample_seed(request: Request, sample: int) -> int:
    """A seed in 0..2^32-2 for one sample. It depends on the request's seed (None counts as 0) and `sample` alone.

    Neighbouring seeds give unrelated values, so `seed=1, n=2` and `seed=2, n=2` share no sample.
    """
    digest = hashlib.blake2b(f"{request.seed or 0}:{sample}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") % (2**32 - 1)


def check_text(request: Request) -> None:
    """Raise `BadRequest` for text that no tokenizer takes: lone surrogates, or no prompt at all."""
    texts = [request.prompt, request.continuation, *(m["content"] for m in request.messages)]
    for text in texts:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise BadRequest(f"the request holds a lone surrogate ({text[error.start]!r} at character {error.start}), "
                             "which is no text; clean it with text.encode('utf-8', 'replace').decode()") from None
    if not any(texts):
        raise BadRequest("the request is empty; give a prompt or messages with text")
