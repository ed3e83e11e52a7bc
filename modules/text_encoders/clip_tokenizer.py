"""engine: CLIP's tokenizer as transformers has it, with what extensions know of transformers 4.

Version 5 keeps its tables in compiled code. A token is a text of letters that each stand for a byte.
"""

from __future__ import annotations

import functools

from transformers import CLIPTokenizer
from transformers.convert_slow_tokenizer import bytes_to_unicode


class Tokenizer(CLIPTokenizer):
    """Cuts texts into CLIP's tokens."""

    @functools.cached_property
    def encoder(self) -> dict[str, int]:
        """Token -> its number."""
        return self.get_vocab()

    @functools.cached_property
    def decoder(self) -> dict[int, str]:
        """Number -> its token."""
        return {number: token for token, number in self.encoder.items()}

    @functools.cached_property
    def byte_encoder(self) -> dict[int, str]:
        """Byte -> the letter that stands for it."""
        return bytes_to_unicode()

    @functools.cached_property
    def byte_decoder(self) -> dict[str, int]:
        """Letter -> the byte that it stands for."""
        return {letter: byte for byte, letter in self.byte_encoder.items()}

    def _convert_token_to_id(self, token: str) -> int:
        return self.convert_tokens_to_ids(token)

    def _convert_id_to_token(self, index: int) -> str:
        return self.convert_ids_to_tokens(index)
