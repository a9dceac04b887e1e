"""Code shared by the backbones with a BERT text tower: configuration, tokeniser, buffers and masks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from clip.backbone import LibraryModule, Projection, Tokens
from dassl.errors import InputError, first_line

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

TOKENIZER_FILE = "tokenizer.json"
# A BERT base. This package holds its configuration, so that it can be built without a network.
BIOMEDBERT = "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract"
BERT_BASE_FOLDER = Path(__file__).parent / "bert_base"


def find_bert_config(folder: Path, repository: str, named_by: str) -> str:
    """Return the folder or the repository from which the configuration of a BERT can be read.

    Args:
        folder: the model's folder; its config.json is used if there is one.
        repository: the repository on the hub to read from otherwise.
        named_by: the file in `folder` that names the repository, for the error message.

    Raises:
        InputError: the repository is neither in the local cache nor can it be downloaded.
    """
    from transformers import AutoConfig

    if (folder / "config.json").is_file():
        return str(folder)
    included = repository == BIOMEDBERT
    try:
        # Retries on an unreachable hub take half a minute: for the included configuration, read only the local cache.
        AutoConfig.from_pretrained(repository, local_files_only=included)
    except OSError as error:
        if included:
            return str(BERT_BASE_FOLDER)
        raise InputError(
            f"the BERT configuration '{repository}', which '{folder / named_by}' names, is neither in the local "
            f"cache nor can it be downloaded; put its config.json into '{folder}'"
        ) from error
    return repository


def load_tokenizer(file: Path, words: int) -> PreTrainedTokenizerFast:
    """Load a fast tokeniser from a tokenizer.json, or make BERT's from the vocabulary in a vocab.txt.

    Args:
        file: of the tokeniser.
        words: the number of word embeddings of the text tower.

    Raises:
        InputError: the file is no tokeniser, lacks a special token, or has words without an embedding.
    """
    from tokenizers import BertWordPieceTokenizer, Tokenizer
    from transformers import PreTrainedTokenizerFast

    try:
        if file.suffix == ".txt":
            tokenizer = Tokenizer.from_str(BertWordPieceTokenizer.from_file(str(file)).to_str())
        else:
            tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises nothing more specific
        raise InputError(f"'{file}' holds no tokeniser ({first_line(error)}); download it again") from error
    special = {name: f"[{name[:-6].upper()}]" for name in ("pad_token", "unk_token", "cls_token", "sep_token")}
    if missing := [token for token in special.values() if tokenizer.token_to_id(token) is None]:
        raise InputError(f"the tokeniser in '{file}' lacks {', '.join(missing)}; download it again")
    if (last := max(tokenizer.get_vocab().values())) >= words:
        raise InputError(
            f"the tokeniser in '{file}' has token {last}, but the text tower has {words} word embeddings; download "
            "the files of one model"
        )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)


def tokenize(tokenizer: PreTrainedTokenizerFast, texts: list[str], longest: int, device: torch.device) -> Tokens:
    """Tokenise texts; a text of more than `longest` tokens is cut, and its end token remains."""
    batch = tokenizer(texts, padding="longest", truncation=True, max_length=longest, return_tensors="pt")
    return Tokens(batch["input_ids"].to(device), batch["attention_mask"].to(device))


def vocabulary(tokenizer: PreTrainedTokenizerFast, embeddings: Tensor) -> tuple[list[str], Tensor]:
    """Return the V words of a tokeniser and their rows (V, W) of the embeddings of all token ids."""
    words = sorted((place, word) for word, place in tokenizer.get_vocab().items())
    return [word for _, word in words], embeddings[[place for place, _ in words]]


def fill_buffers(embeddings: LibraryModule) -> None:
    """Set BERT's two buffers. They are constants, and weight files do not hold them."""
    embeddings.position_ids = torch.arange(embeddings.position_ids.shape[1])[None]
    embeddings.token_type_ids = torch.zeros_like(embeddings.position_ids)


def square_mask(mask: Tensor) -> Tensor:
    """Expand a mask (N, L) to (N, 1, L, L), which BERT uses without a check that would wait for the GPU."""
    return mask[:, None, None, :].bool().expand(-1, -1, mask.shape[1], -1)


def bert_projections(bert: LibraryModule) -> list[dict[str, Projection]]:
    """Return the query, key and value projections of each BERT layer."""
    attentions = [layer.attention.self for layer in bert.encoder.layer]
    all_rows = slice(None)
    return [{"q": (a.query, all_rows), "k": (a.key, all_rows), "v": (a.value, all_rows)} for a in attentions]
