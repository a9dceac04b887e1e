"""CLIP (Radford et al., arXiv 2103.00020) and models tuned from it, through open_clip."""

import math
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clip.backbone import BACKBONE_REGISTRY, Backbone, Projection, Tokens, VisualPrompt
from clip.deep import deep_prompts
from clip.hub import WEIGHT_FILES, Source, check_keys, find_files, load_weights
from clip.layouts import read_clip
from clip.vit import NO_PROMPT, PromptWriter, class_token_heads, fused_projections, through_blocks
from dassl.errors import InputError

TRANSFORMERS_FILES = ("model.safetensors", "pytorch_model.bin")
PIXEL_MEAN, PIXEL_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
HEAD_WIDTH, WORDS = 64, 49408
# The weights whose shapes tell the model's sizes.
SIZES = (
    "visual.conv1.weight",
    "visual.positional_embedding",
    "positional_embedding",
    "token_embedding.weight",
    "text_projection",
)


class OpenAIBackbone(Backbone):
    """A vision transformer and a causal text transformer as OpenAI built them; sizes are read off the weights.

    A subclass names where it comes from. A local folder may hold the same model in transformers' layout instead.
    """

    hub_id: str
    files: tuple[str, ...]
    pixel_mean, pixel_std = PIXEL_MEAN, PIXEL_STD

    def __init__(self, path: str = ""):
        super().__init__()
        self.name = type(self).__name__
        names = self.files + (TRANSFORMERS_FILES if path else ())
        (file,) = find_files(path, Source(self.hub_id, (names,)))
        weights = read_clip(file)
        self.model = build_from_shapes(weights, file)
        load_weights(self.model, weights, file)
        context = self.model.context_length
        # A buffer that no file holds.
        self.model.attn_mask = torch.full((context, context), -math.inf).triu(1)
        for block in (*self.model.transformer.resblocks, *self.model.visual.transformer.resblocks):
            block.attn = FusedAttention(block.attn)
        self._describe()

    def _describe(self) -> None:
        text, vision = self.model.transformer, self.model.visual.transformer
        self.image_size = self.model.visual.image_size[0]
        self.embed_dim, self.context_length = self.model.visual.output_dim, self.model.context_length
        self.text_width, self.text_depth = text.width, text.layers
        self.vision_width, self.vision_depth = vision.width, vision.layers
        self.logit_scale = float(self.model.logit_scale.detach().exp())

    def tokenize(self, texts: list[str]) -> Tokens:
        from open_clip import tokenize

        ids = tokenize(texts, self.context_length)
        lengths = ids.argmax(1, keepdim=True) + 1  # the end token has the highest number
        ids = ids[:, : lengths.max()]
        return Tokens(ids.to(self.device), (torch.arange(ids.shape[1]) < lengths).long().to(self.device))

    def embed_tokens(self, ids: Tensor) -> Tensor:
        return self.model.token_embedding(ids)

    def encode_text(self, embeddings: Tensor, mask: Tensor, deep: Tensor | None = None) -> Tensor:
        model, length = self.model, embeddings.shape[1]
        hidden = embeddings + model.positional_embedding[:length]
        with deep_prompts(model.transformer.resblocks, deep):
            hidden = model.transformer(hidden, attn_mask=model.attn_mask[:length, :length])
        at_end = hidden[torch.arange(len(hidden), device=hidden.device), mask.sum(1) - 1]
        return model.ln_final(at_end) @ model.text_projection

    def encode_image(self, pixels: Tensor, prompt: VisualPrompt | None = None) -> Tensor:
        tower = self.model.visual
        blocks = tower.transformer.resblocks
        writer = PromptWriter(prompt or NO_PROMPT, len(blocks), self.vision_width)
        patches = tower.conv1(pixels).flatten(2).transpose(1, 2)
        first = tower.class_embedding.to(patches.dtype).expand(len(patches), 1, -1)
        embedded = torch.cat([first, patches], dim=1) + tower.positional_embedding.to(patches.dtype)
        short = None if blocks[-1].attn.qkv._forward_hooks else _class_token
        tokens = through_blocks(blocks, tower.ln_pre(writer.begin(embedded)), writer, short)
        return tower.ln_post(tokens[:, 0]) @ tower.proj

    def attention_projections(self, tower: str) -> list[dict[str, Projection]]:
        transformer = self.model.transformer if tower == "text" else self.model.visual.transformer
        return fused_projections(transformer.resblocks)


@BACKBONE_REGISTRY.register()
class CLIP(OpenAIBackbone):
    """OpenAI's CLIP ViT-B/16, trained on images of the web; no medical model.

    Source: Hugging Face model timm/vit_base_patch16_clip_224.openai, which open_clip's "openai" weights of ViT-B-16 are
    taken from; licence: see the repository. 224 pixels, CLIP's normalisation, shared width 512, causal text
    transformer with context 77, logit scale read from the file.
    """

    hub_id = "timm/vit_base_patch16_clip_224.openai"
    files = WEIGHT_FILES


@BACKBONE_REGISTRY.register()
class PubMedCLIP(OpenAIBackbone):
    """PubMedCLIP ViT-B/32 (Eslami et al., arXiv 2112.13906): CLIP tuned on radiology images and captions (ROCO).

    Source: Hugging Face model sarahESL/PubMedCLIP; the same model in transformers' layout, for a local folder, is
    flaviagiammarino/pubmed-clip-vit-base-patch32; licence: see the repositories. 224 pixels, CLIP's normalisation,
    shared width 512, causal text transformer with context 77, logit scale read from the file.
    """

    hub_id = "sarahESL/PubMedCLIP"
    files = ("PubMedCLIP_ViT32.pth",)


class FusedAttention(nn.Module):
    """The self-attention of an nn.MultiheadAttention with its weights, called in the same way.

    Its query, key and value projection is a layer, `qkv`, which hooks can be put on.
    """

    def __init__(self, attention: nn.MultiheadAttention):
        super().__init__()
        with torch.device("meta"):
            self.qkv = nn.Linear(attention.embed_dim, 3 * attention.embed_dim)
        self.qkv.weight, self.qkv.bias = attention.in_proj_weight, attention.in_proj_bias
        self.out_proj, self.num_heads = attention.out_proj, attention.num_heads

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, need_weights: bool = False, attn_mask: Tensor | None = None
    ) -> tuple[Tensor, None]:
        """Attention (B, L, W) among tokens (B, L, W), given three times, under an additive mask (L, L); no weights."""
        heads = self.qkv(query).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        # Under autocast the projections have another type than the tokens, from which the block made the mask's.
        mask = None if attn_mask is None else attn_mask.to(heads.dtype)
        mixed = F.scaled_dot_product_attention(*heads, attn_mask=mask)
        return self.out_proj(mixed.transpose(1, 2).flatten(2)), None


def _class_token(block: nn.Module, tokens: Tensor) -> Tensor:
    """The class token (B, 1, W) after a block, without the work for the tokens that nothing reads after it."""
    mixed = F.scaled_dot_product_attention(*class_token_heads(block.attn, block.ln_1(tokens)))
    token = tokens[:, :1] + block.ls_1(block.attn.out_proj(mixed.transpose(1, 2).flatten(2)))
    return token + block.ls_2(block.mlp(block.ln_2(token)))


def build_from_shapes(weights: dict[str, Tensor], file: Path) -> nn.Module:
    """open_clip's CLIP without memory for its weights, of the sizes that a state dict in OpenAI's layout has.

    Raises:
        InputError: weights that the sizes are read off are missing, or it is not a CLIP with CLIP's tokeniser.
    """
    from open_clip.model import CLIP as Model  # noqa: N811 - the name of the backbone here
    from open_clip.model import CLIPTextCfg, CLIPVisionCfg

    check_keys(file, [key for key in SIZES if key not in weights], [])
    kernel, places, positions, words, projection = (weights[key].shape for key in SIZES)
    if words[0] != WORDS:
        raise InputError(f"'{file}' has {words[0]} word embeddings, CLIP's tokeniser has {WORDS} words; choose a CLIP")
    vision = CLIPVisionCfg(
        layers=_blocks(weights, "visual.transformer"),
        width=kernel[0],
        head_width=HEAD_WIDTH,
        patch_size=kernel[-1],
        image_size=kernel[-1] * math.isqrt(places[0] - 1),
    )
    text = CLIPTextCfg(
        context_length=positions[0],
        vocab_size=words[0],
        width=words[1],
        heads=words[1] // HEAD_WIDTH,
        layers=_blocks(weights, "transformer"),
    )
    with torch.device("meta"):  # no memory and no random numbers for weights that the file replaces
        return Model(projection[1], vision, text, quick_gelu=True)


def _blocks(weights: dict[str, Tensor], transformer: str) -> int:
    beginning = f"{transformer}.resblocks."
    return len({key.removeprefix(beginning).split(".")[0] for key in weights if key.startswith(beginning)})
