"""Make the Tiny backbone: a BiomedCLIP of about a million parameters, trained on generated phantom images.

    python -m tools.make_tiny                 # writes clip/tiny/, about 15 minutes on two CPU cores

The training images have the radiograph style and the built-in data set has another (datasets/phantom_render.py), so
that zero-shot classification of the built-in data set is a transfer task, as it is for a real backbone. The training
objective is a contrastive loss with several positives per row (Yang et al., UniCL, arXiv 2204.03610, eq. 2-4): a
caption states the tissue, the finding or both, and matches every image of which it is true.
"""

import argparse
import json
import math
import random
import time
from multiprocessing import Pool
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms.v2 import functional as TF
from tqdm import tqdm

from clip.backbone import VisualPrompt
from clip.bert import TOKENIZER_FILE, load_tokenizer
from clip.biomedclip import CONFIG_FILE, build_open_clip
from clip.hub import WEIGHT_FILES
from clip.vit import forward_with_prompt
from datasets.phantom_render import FINDINGS, RADIOGRAPH, TISSUES, render
from prompts import available_prompts, load_prompts
from tools.captions import all_phrases, caption

PIXEL_MEAN = (0.48145466, 0.4578275, 0.40821073)
PIXEL_STD = (0.26862954, 0.26130258, 0.27577711)
IMAGE_SIZE = 160
CONTEXT_LENGTH = 128
# Some batches have a zero visual prompt, because a small tower works badly with tokens that it has never seen.
PROMPTS = (None, None, VisualPrompt(4, placement="replace"), VisualPrompt(4, placement="insert"))
MODEL_CFG = {
    "embed_dim": 128,
    "vision_cfg": {
        "timm_model_name": "test_vit",
        "timm_model_pretrained": False,
        "timm_pool": "",
        "timm_proj": "linear",
        "image_size": IMAGE_SIZE,
    },
    "text_cfg": {
        "hf_model_name": "clip/tiny",
        "hf_tokenizer_name": "clip/tiny",
        "hf_proj_type": "mlp",
        "hf_pooler_type": "cls_last_hidden_state_pooler",
        "context_length": CONTEXT_LENGTH,
    },
}


def write_tokenizer(folder: Path, vocab_size: int) -> int:
    """Train a lower-case WordPiece tokeniser on all prompts and captions; return the size of its vocabulary."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

    texts = list(all_phrases())
    for name in available_prompts():
        prompts = load_prompts(name)
        texts += [prompts.template.format(c) for c in prompts.classes] + [
            s for c in prompts.classes for s in prompts[c]
        ]
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    texts += [a + b for a in letters for b in letters]  # so that the tokeniser can spell any word
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer.train_from_iterator(
        texts,
        trainers.WordPieceTrainer(
            vocab_size=vocab_size, special_tokens=specials, initial_alphabet=list("!\"#$%&'()*+,-./:;<=>?[]_" + letters)
        ),
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.save(str(folder / TOKENIZER_FILE))
    return tokenizer.get_vocab_size()


def write_configs(folder: Path, vocab_size: int) -> None:
    """Write the configurations of BERT and of the whole model."""
    bert = {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "vocab_size": vocab_size,
        "hidden_size": 128,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "intermediate_size": 512,
        "max_position_embeddings": CONTEXT_LENGTH,
        "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1,
        "pad_token_id": 0,
    }
    preprocess = {"mean": PIXEL_MEAN, "std": PIXEL_STD}
    (folder / "config.json").write_text(json.dumps(bert, indent=2) + "\n")
    config = {"model_cfg": MODEL_CFG, "preprocess_cfg": preprocess}
    (folder / CONFIG_FILE).write_text(json.dumps(config, indent=2) + "\n")


def _render_one(seed: int) -> tuple[np.ndarray, int, int]:
    rng = np.random.default_rng(seed)
    tissue, finding = rng.integers(len(TISSUES)), rng.integers(len(FINDINGS))
    return render(TISSUES[tissue], FINDINGS[finding], RADIOGRAPH, rng, IMAGE_SIZE), tissue, finding


def render_pool(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Render images (N, H, W), uint8, and their labels (N, 2): tissue and finding."""
    with Pool() as pool:
        seeds = range(seed * 1_000_003, seed * 1_000_003 + count)
        drawn = list(tqdm(pool.imap(_render_one, seeds, chunksize=64), total=count, desc="rendering"))
    images = torch.from_numpy(np.stack([image for image, _, _ in drawn]))
    return images, torch.tensor([[tissue, finding] for _, tissue, finding in drawn])


def augment(images: Tensor, rng: random.Random) -> Tensor:
    """Crop (area 0.3 to 1) and flip images (B, H, W), uint8, at random; return normalised pixels (B, 3, H, W)."""
    views = []
    for image in images:
        side = round(IMAGE_SIZE * math.sqrt(rng.uniform(0.3, 1.0)))
        top, left = rng.randint(0, IMAGE_SIZE - side), rng.randint(0, IMAGE_SIZE - side)
        view = TF.resized_crop(image[None], top, left, side, side, [IMAGE_SIZE, IMAGE_SIZE], antialias=True)
        views.append(view.flip(-1) if rng.random() < 0.5 else view)
    pixels = torch.stack(views).float().expand(-1, 3, -1, -1) / 255
    return TF.normalize(pixels, list(PIXEL_MEAN), list(PIXEL_STD))


def contrastive_loss(logits: Tensor, matches: Tensor) -> Tensor:
    """Average the cross-entropy of rows and of columns against uniform distributions over their matches."""

    def one_way(scores: Tensor, positive: Tensor) -> Tensor:
        target = positive / positive.sum(1, keepdim=True)
        return -(target * F.log_softmax(scores, dim=1)).sum(1).mean()

    return (one_way(logits, matches) + one_way(logits.T, matches.T)) / 2


def encode(tower: torch.nn.Module, pixels: Tensor, prompt: VisualPrompt | None) -> Tensor:
    """Compute the image features (B, embed_dim) of pixels (B, 3, H, W)."""
    return tower(pixels) if prompt is None else tower.head(forward_with_prompt(tower.trunk, pixels, prompt))


def train(model, tokenizer, images: Tensor, labels: Tensor, steps: int, batch_size: int, lr: float, seed: int) -> None:
    """Train both towers, with a linear warm-up and a cosine schedule."""
    rng = random.Random(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.05)
    warmup = steps // 20
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda i: min((i + 1) / warmup, 0.5 * (1 + math.cos(math.pi * i / steps)))
    )
    model.train()
    progress = tqdm(range(steps), desc="training", mininterval=5)
    for _ in progress:
        chosen = torch.tensor(rng.sample(range(len(images)), batch_size))
        drawn = [caption(TISSUES[t], FINDINGS[f], rng) for t, f in labels[chosen].tolist()]
        told = torch.tensor(
            [[tissue, finding] for _, tissue, finding in drawn]
        )  # (B, 2) bool: the attributes that each caption states
        agrees = labels[chosen][:, None] == labels[chosen][None, :]  # (image, caption, attribute)
        matches = (agrees | ~told[None]).all(-1).float()
        tokens = tokenizer([text for text, _, _ in drawn], padding="longest", return_tensors="pt")
        output = model.text.transformer(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"])
        text = F.normalize(model.text.proj(model.text.pooler(output, tokens["attention_mask"])), dim=-1)
        image = F.normalize(encode(model.visual, augment(images[chosen], rng), rng.choice(PROMPTS)), dim=-1)
        loss = contrastive_loss(model.logit_scale.exp() * image @ text.T, matches)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            model.logit_scale.clamp_(max=math.log(100))
        progress.set_postfix(loss=f"{loss.item():.3f}", scale=f"{model.logit_scale.exp().item():.1f}", refresh=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("clip/tiny"))
    parser.add_argument("--images", type=int, default=8000)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--batch-size", type=int, default=96)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--vocab-size", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    start = time.time()
    torch.manual_seed(args.seed)
    args.folder.mkdir(parents=True, exist_ok=True)
    write_configs(args.folder, write_tokenizer(args.folder, args.vocab_size))
    model = build_open_clip(MODEL_CFG, args.folder)
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters")
    images, labels = render_pool(args.images, args.seed)
    tokenizer = load_tokenizer(args.folder / TOKENIZER_FILE)
    train(model, tokenizer, images, labels, args.steps, args.batch_size, args.lr, args.seed)
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, args.folder / WEIGHT_FILES[0])
    print(f"wrote {args.folder} in {(time.time() - start) / 60:.1f} min")


if __name__ == "__main__":
    main()
