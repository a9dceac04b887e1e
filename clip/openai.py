"""CLIP (Radford et al., arXiv 2103.00020) and models fine-tuned from it, through open_clip."""

import math
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clip.backbone import BACKBONE_REGISTRY, Backbone, LibraryModule, Projection, Tokens, Tower, VisualPrompt
from clip.deep import deep_prompts
from clip.hub import WEIGHT_FILES, Source, building_from, find_files, load_weights
from clip.layouts import check_dimensions, read_clip
from clip.vit import NO_PROMPT, PromptWriter, class_token_heads, fused_projections, run_blocks
from dassl.errors import InputError

TRANSFORMERS_FILES = ("model.safetensors", "pytorch_model.bin")
PIXEL_MEAN, PIXEL_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
HEAD_WIDTH, VOCABULARY_SIZE = 64, 49408
# The weights whose shapes determine the sizes of the model, and their dimensions.
SIZE_KEYS = {
    "visual.conv1.weight": 4,
    "visual.positional_embedding": 2,
    "positional_embedding": 2,
    "token_embedding.weight": 2,
    "text_projection": 2,
}


class OpenAIBackbone(Backbone):
    """OpenAI's vision transformer and causal text transformer. The shapes of the weights determine the sizes.

    A subclass names the source of its weights. A local folder may also hold the model in transformers' layout.
    """

    model: LibraryModule
    vision_width: int
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
        # Weight files do not hold this buffer.
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
        lengths = ids.argmax(1, keepdim=True) + 1  # the end token has the highest id
        ids = ids[:, : lengths.max()]
        return Tokens(ids.to(self.device), (torch.arange(ids.shape[1]) < lengths).long().to(self.device))

    def embed_tokens(self, ids: Tensor) -> Tensor:
        return self.model.token_embedding(ids)

    def vocabulary(self) -> tuple[list[str], Tensor]:
        from open_clip.tokenizer import SimpleTokenizer

        words = sorted(SimpleTokenizer().decoder.items())
        return [word for _, word in words], self.model.token_embedding.weight[[place for place, _ in words]]

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
        first = tower.class_embedding.to(patches.dtype).expand(patches.shape[0], 1, -1)
        embedded = torch.cat([first, patches], dim=1) + tower.positional_embedding.to(patches.dtype)
        last_block = None if self.is_adapted(blocks[-1].attn.qkv) else _class_token
        tokens = run_blocks(blocks, tower.ln_pre(writer.begin(embedded)), writer, last_block)
        return tower.ln_post(tokens[:, 0]) @ tower.proj

    def attention_projections(self, tower: Tower) -> list[dict[str, Projection]]:
        transformer = self.model.transformer if tower == "text" else self.model.visual.transformer
        return fused_projections(transformer.resblocks)


@BACKBONE_REGISTRY.register()
class CLIP(OpenAIBackbone):
    """OpenAI's CLIP ViT-B/16, trained on images from the web. It is not a medical model.

    Source: Hugging Face model timm/vit_base_patch16_clip_224.openai, from which open_clip takes its "openai" weights of
    ViT-B-16; licence: see the repository. 224 pixels, CLIP's normalisation, shared width 512, causal text
    transformer with context 77, logit scale read from the file.
    """

    hub_id = "timm/vit_base_patch16_clip_224.openai"
    files = WEIGHT_FILES


@BACKBONE_REGISTRY.register()
class PubMedCLIP(OpenAIBackbone):
    """PubMedCLIP ViT-B/32 (Eslami et al., arXiv 2112.13906): CLIP fine-tuned on radiology images and captions (ROCO).

    Source: Hugging Face model sarahESL/PubMedCLIP. The same model in transformers' layout, for use as a local folder,
    is flaviagiammarino/pubmed-clip-vit-base-patch32. Licence: see the repositories. 224 pixels, CLIP's normalisation,
    shared width 512, causal text transformer with context 77, logit scale read from the file.
    """

    hub_id = "sarahESL/PubMedCLIP"
    files = ("PubMedCLIP_ViT32.pth",)


class FusedAttention(nn.Module):
    """A drop-in replacement for the self-attention of an nn.MultiheadAttention, with the same weights.

    Its query, key and value projections are one linear layer, `qkv`, so that they can be adapted.
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
        """Compute the self-attention (B, L, W) of tokens (B, L, W) under an additive mask (L, L).

        The three inputs must be the same tensor. Attention weights are not returned.
        """
        heads = self.qkv(query).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        # The block casts the mask to the tokens' type; under autocast the projections have another type.
        mask = None if attn_mask is None else attn_mask.to(heads.dtype)
        mixed = F.scaled_dot_product_attention(heads[0], heads[1], heads[2], attn_mask=mask)
        return self.out_proj(mixed.transpose(1, 2).flatten(2)), None


def _class_token(block: LibraryModule, tokens: Tensor) -> Tensor:
    """Compute only the class token (B, 1, W) of a block's output, for the last block of a tower."""
    mixed = F.scaled_dot_product_attention(*class_token_heads(block.attn, block.ln_1(tokens)))
    token = tokens[:, :1] + block.ls_1(block.attn.out_proj(mixed.transpose(1, 2).flatten(2)))
    return token + block.ls_2(block.mlp(block.ln_2(token)))


def build_from_shapes(weights: dict[str, Tensor], file: Path) -> LibraryModule:
    """Build open_clip's CLIP, on the meta device, in the sizes of a state dict in OpenAI's layout.

    Raises:
        InputError: weights that determine the sizes are missing, or the model does not have CLIP's vocabulary.
    """
    from open_clip.model import CLIP as Model  # noqa: N811 - CLIP is the backbone in this module
    from open_clip.model import CLIPTextCfg, CLIPVisionCfg

    check_dimensions(file, weights, SIZE_KEYS)
    kernel, patches, positions, words, projection = (weights[key].shape for key in SIZE_KEYS)
    if words[0] != VOCABULARY_SIZE:
        raise InputError(
            f"'{file}' has {words[0]} word embeddings, but CLIP's tokeniser has {VOCABULARY_SIZE} words; "
            "choose the weights of a CLIP model"
        )
    vision = CLIPVisionCfg(
        layers=_blocks(weights, "visual.transformer"),
        width=kernel[0],
        head_width=HEAD_WIDTH,
        patch_size=kernel[-1],
        image_size=kernel[-1] * math.isqrt(patches[0] - 1),
    )
    text = CLIPTextCfg(
        context_length=positions[0],
        vocab_size=words[0],
        width=words[1],
        heads=words[1] // HEAD_WIDTH,
        layers=_blocks(weights, "transformer"),
    )
    with building_from(file), torch.device("meta"):  # the file's tensors replace the weights: allocate none
        return Model(projection[1], vision, text, quick_gelu=True)


def _blocks(weights: dict[str, Tensor], transformer: str) -> int:
    """Count the blocks of a transformer in a state dict."""
    prefix = f"{transformer}.resblocks."
    return len({key.removeprefix(prefix).split(".")[0] for key in weights if key.startswith(prefix)})
