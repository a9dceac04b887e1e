"""Write models with random weights in the layouts of the hub, for tests and benchmarks."""

import hashlib
import json
import math
import shutil
from pathlib import Path

import torch

from clip.bert import TOKENIZER_FILE
from clip.biomedclip import CONFIG_FILE, build_open_clip
from clip.pmcclip import IMAGE_FILE, PMCCLIP, PROJECTION_FILE, TEXT_FILE

BIOMEDCLIP = "microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224"
BERT = "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract"
TINY = Path(__file__).resolve().parent.parent / "clip" / "tiny"


def write_model(folder: Path, vit: str, bert: dict, embed_dim: int, context: int, seed: int = 0) -> None:
    """Write a BiomedCLIP with random weights as a .bin file, with the obsolete key of the genuine file."""
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


def small_model(folder: Path, vit: str = "vit_tiny_patch16_224") -> Path:
    """Write a BiomedCLIP with a small ViT of timm (its name) and a BERT of two layers."""
    bert = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 128}
    write_model(folder, vit, {**bert, "vocab_size": 3000}, embed_dim=32, context=256)
    return folder


def small_clip(folder: Path, width: int = 64) -> Path:
    """Write a CLIP in open_clip's layout: two blocks in each tower, 32 pixels in patches of 16, heads of width 64."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    save_file(_random_clip(width).state_dict(), folder / "open_clip_model.safetensors")
    return folder


def small_pubmedclip(folder: Path) -> Path:
    """Write a CLIP in OpenAI's layout as training code saves it: in half precision, with sizes and other values."""
    from open_clip.model import convert_weights_to_fp16

    folder.mkdir(parents=True)
    model = _random_clip(64)
    convert_weights_to_fp16(model)
    sizes = {"input_resolution": 32, "context_length": 77, "vocab_size": 49408}
    weights = {**model.state_dict(), **{name: torch.tensor(number) for name, number in sizes.items()}}
    torch.save({"epoch": 50, "state_dict": weights, "best_loss": 1.5}, folder / "PubMedCLIP_ViT32.pth")
    return folder


def _random_clip(width: int) -> torch.nn.Module:
    from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg

    torch.manual_seed(0)
    vision = CLIPVisionCfg(layers=2, width=width, patch_size=16, image_size=32)
    text = CLIPTextCfg(layers=2, width=width, heads=width // 64)
    return CLIP(32, vision, text, quick_gelu=True, init_logit_scale=math.log(100)).eval()


def small_pmcclip(folder: Path) -> Path:
    """Write the three files of a PMC-CLIP, with prefixes and obsolete keys; 64 pixels, one bottleneck in each stage."""
    from open_clip.modified_resnet import ModifiedResNet
    from transformers import BertConfig, BertModel

    folder.mkdir(parents=True)
    torch.manual_seed(0)
    image = ModifiedResNet([1, 1, 1, 1], output_dim=32, heads=PMCCLIP.pool_heads, image_size=64, width=8)
    for name, value in image.state_dict().items():  # new batch norms are the identity
        if ".bn" in name or name.startswith("bn"):
            value.copy_(torch.rand(value.shape) + 0.5)
    bert = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 128}
    bert = {"model_type": "bert", **bert, "vocab_size": 3000, "max_position_embeddings": 128}
    text = {f"module.{name}": value for name, value in BertModel(BertConfig(**bert)).state_dict().items()}
    torch.save(image.state_dict(), folder / IMAGE_FILE)
    torch.save({**text, "module.embeddings.position_ids": torch.arange(128)[None]}, folder / TEXT_FILE)
    torch.save(torch.nn.Parameter(torch.randn(64, 32) / 8), folder / PROJECTION_FILE)
    (folder / "config.json").write_text(json.dumps(bert))
    (folder / TOKENIZER_FILE).write_bytes((TINY / TOKENIZER_FILE).read_bytes())
    return folder


def full_size_model(folder: Path) -> Path:
    """Write a BiomedCLIP of the genuine size, without BERT's configuration."""
    bert = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072}
    write_model(folder, "vit_base_patch16_224", {**bert, "vocab_size": 30522}, embed_dim=512, context=256)
    (folder / "config.json").unlink()  # the genuine repository has none either
    return folder


def hub_cache(home: Path, model: Path) -> Path:
    """Fill a hub cache with a model and, in another repository, BERT's configuration, as on the hub."""
    fill_cache(
        home, BIOMEDCLIP, [model / name for name in (CONFIG_FILE, TOKENIZER_FILE, "open_clip_pytorch_model.bin")]
    )
    return fill_cache(home, BERT, [model / "config.json"])


def fill_cache(home: Path, repository: str, files: list[Path], kind: str = "model") -> Path:
    """Put files into a hub cache as huggingface_hub does: weights under their sha256, small files under git's hash."""
    revision = "0" * 40
    folder = home / "hub" / f"{kind}s--{repository.replace('/', '--')}"
    for part in ("refs", "blobs", f"snapshots/{revision}"):
        (folder / part).mkdir(parents=True)
    (folder / "refs" / "main").write_text(revision)
    for file in files:
        small = file.suffix in (".json", ".txt")
        blob = hashlib.new("sha1" if small else "sha256", file.read_bytes()).hexdigest()
        shutil.copy(file, folder / "blobs" / blob)
        (folder / "snapshots" / revision / file.name).symlink_to(Path("../../blobs") / blob)
    return home
