"""Writes random BiomedCLIP-like models in the hub's layout, for tests and benchmarks that need one."""

import json
from pathlib import Path

import torch

from clip.bert import TOKENIZER_FILE
from clip.biomedclip import CONFIG_FILE, build_open_clip

BIOMEDCLIP = "microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224"
BERT = "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract"
TINY = Path(__file__).resolve().parent.parent / "clip" / "tiny"


def write_model(folder: Path, vit: str, bert: dict, embed_dim: int, context: int, seed: int = 0) -> None:
    """A model with random weights as an old-style .bin, with the obsolete key that the genuine file has."""
    folder.mkdir(parents=True)
    model_cfg = {
        "embed_dim": embed_dim,
        "vision_cfg": {"timm_model_name": vit, "timm_pool": "", "timm_proj": "linear", "image_size": 224},
        "text_cfg": {
            "hf_model_name": BERT,
            "hf_tokenizer_name": BERT,
            "hf_proj_type": "mlp",
            "hf_pooler_type": "cls_last_hidden_state_pooler",
            "context_length": context,
        },
    }
    preprocess = {"mean": [0.48145466, 0.4578275, 0.40821073], "std": [0.26862954, 0.26130258, 0.27577711]}
    (folder / CONFIG_FILE).write_text(json.dumps({"model_cfg": model_cfg, "preprocess_cfg": preprocess}))
    (folder / "config.json").write_text(json.dumps({"model_type": "bert", "max_position_embeddings": 512, **bert}))
    (folder / TOKENIZER_FILE).write_bytes((TINY / TOKENIZER_FILE).read_bytes())
    torch.manual_seed(seed)
    weights = build_open_clip(model_cfg, folder).state_dict()
    weights["logit_scale"] = torch.tensor(85.2323).log()
    weights["text.transformer.embeddings.position_ids"] = torch.arange(512)[None]
    torch.save(weights, folder / "open_clip_pytorch_model.bin")


def small_model(folder: Path) -> Path:
    bert = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 128}
    write_model(folder, "vit_tiny_patch16_224", {**bert, "vocab_size": 3000}, embed_dim=32, context=256)
    return folder


def full_size_model(folder: Path) -> Path:
    bert = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072}
    write_model(folder, "vit_base_patch16_224", {**bert, "vocab_size": 30522}, embed_dim=512, context=256)
    (folder / "config.json").unlink()  # the genuine repository has none either: BERT's stands in another
    return folder


def hub_cache(home: Path, model: Path) -> Path:
    """A pre-filled hub cache: the model in one repository, BERT's configuration in another, as on the hub."""
    revision = "0" * 40
    for repository, names in (
        (BIOMEDCLIP, (CONFIG_FILE, TOKENIZER_FILE, "open_clip_pytorch_model.bin")),
        (BERT, ("config.json",)),
    ):
        folder = home / "hub" / f"models--{repository.replace('/', '--')}"
        (folder / "refs").mkdir(parents=True)
        (folder / "refs" / "main").write_text(revision)
        (folder / "snapshots" / revision).mkdir(parents=True)
        for name in names:
            (folder / "snapshots" / revision / name).symlink_to(model / name)
    return home
