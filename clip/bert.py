"""What the BERT text towers of several backbones share: configuration, tokeniser, buffers, masks."""

from pathlib import Path

import torch
from torch import Tensor, nn

from clip.backbone import Projection, Tokens
from dassl.errors import InputError

TOKENIZER_FILE = "tokenizer.json"
# A BERT base; its configuration stands in clip/bert_base/ for machines without a network.
BIOMEDBERT = "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract"
CARRIED = Path(__file__).parent / "bert_base"


def find_bert_config(folder: Path, repository: str, named_by: str) -> str:
    """A folder or repository from which BERT's configuration can be read here and now.

    Raises:
        InputError: the repository, which the file `named_by` names, is out of reach.
    """
    from transformers import AutoConfig

    if (folder / "config.json").is_file():
        return str(folder)
    carried = repository == BIOMEDBERT
    try:
        # Asking a hub that cannot be reached takes half a minute of retries.
        AutoConfig.from_pretrained(repository, local_files_only=carried)
    except OSError as error:
        if carried:
            return str(CARRIED)
        raise InputError(
            f"the BERT configuration '{repository}', which '{folder / named_by}' names, is neither in the local "
            f"cache nor can it be downloaded; put its config.json into '{folder}'"
        ) from error
    return repository


def load_tokenizer(file: Path):
    """The fast tokenizer stored in a tokenizer.json, or BERT's with the words of a vocab.txt."""
    from tokenizers import BertWordPieceTokenizer, Tokenizer
    from transformers import PreTrainedTokenizerFast

    if file.suffix == ".txt":
        tokenizer = Tokenizer.from_str(BertWordPieceTokenizer.from_file(str(file)).to_str())
    else:
        tokenizer = Tokenizer.from_file(str(file))
    special = {name: f"[{name[:-6].upper()}]" for name in ("pad_token", "unk_token", "cls_token", "sep_token")}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)


def tokenize(tokenizer, texts: list[str], longest: int, device: torch.device) -> Tokens:
    """Tokens of texts, cut to `longest` with the end token kept."""
    batch = tokenizer(texts, padding="longest", truncation=True, max_length=longest, return_tensors="pt")
    return Tokens(batch["input_ids"].to(device), batch["attention_mask"].to(device))


def fill_buffers(embeddings: nn.Module) -> None:
    """BERT's two buffers are constants that no file holds."""
    embeddings.position_ids = torch.arange(embeddings.position_ids.shape[1])[None]
    embeddings.token_type_ids = torch.zeros_like(embeddings.position_ids)


def square_mask(mask: Tensor) -> Tensor:
    """The mask (N, L) as (N, 1, L, L), which BERT takes as it is; asked for zeros, one of two axes waits for a GPU."""
    return mask[:, None, None, :].bool().expand(-1, -1, mask.shape[1], -1)


def bert_projections(bert: nn.Module) -> list[dict[str, Projection]]:
    """Query, key and value layers of each BERT layer."""
    attentions = [layer.attention.self for layer in bert.encoder.layer]
    whole = slice(None)
    return [{"q": (a.query, whole), "k": (a.key, whole), "v": (a.value, whole)} for a in attentions]
