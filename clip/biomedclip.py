"""BiomedCLIP (Zhang et al., arXiv 2303.00915) and Tiny, a small model of the same architecture, through open_clip."""

import json
from pathlib import Path

import torch
from torch import Tensor

from clip.backbone import BACKBONE_REGISTRY, Backbone, LibraryModule, Projection, Tokens, Tower, VisualPrompt
from clip.bert import (
    TOKENIZER_FILE,
    bert_projections,
    fill_buffers,
    find_bert_config,
    load_tokenizer,
    square_mask,
    tokenize,
)
from clip.deep import deep_prompts
from clip.hub import WEIGHT_FILES, Source, find_files, load_weights, read_weights
from clip.vit import NO_PROMPT, forward_with_prompt, fused_projections

CONFIG_FILE = "open_clip_config.json"
# A constant that transformers stored before version 4.31.
OBSOLETE_KEY = "text.transformer.embeddings.position_ids"


@BACKBONE_REGISTRY.register()
class BiomedCLIP(Backbone):
    """A ViT image tower and a BERT text tower in the hub layout of open_clip.

    Source: Hugging Face model microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224 (MIT licence); ViT-B/16 at 224
    pixels, PubMedBERT with context 256, shared width 512, logit scale about 85.23.
    """

    model: LibraryModule
    hub_id = "microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224"

    def __init__(self, path: str = ""):
        super().__init__()
        self.name = type(self).__name__
        found = find_files(path, Source(self.hub_id, (CONFIG_FILE, TOKENIZER_FILE, WEIGHT_FILES)))
        config_file, tokenizer_file, weight_file = found
        config = json.loads(config_file.read_text())
        with torch.device("meta"):  # the file's tensors replace the weights: allocate and initialise none
            self.model = build_open_clip(config["model_cfg"], config_file.parent)
        weights = read_weights(weight_file)
        weights.pop(OBSOLETE_KEY, None)
        load_weights(self.model, weights, weight_file)
        fill_buffers(self.model.text.transformer.embeddings)
        self._tokenizer = load_tokenizer(tokenizer_file)
        self._describe(config)

    def _describe(self, config: dict) -> None:
        preprocess, trunk, bert = config["preprocess_cfg"], self.model.visual.trunk, self.model.text.transformer.config
        self.image_size = self.model.visual.image_size[0]
        self.pixel_mean, self.pixel_std = tuple(preprocess["mean"]), tuple(preprocess["std"])
        self.embed_dim = config["model_cfg"]["embed_dim"]
        self.context_length = config["model_cfg"]["text_cfg"]["context_length"]
        self.text_width, self.text_depth = bert.hidden_size, bert.num_hidden_layers
        self.vision_width, self.vision_depth = trunk.embed_dim, len(trunk.blocks)
        self.logit_scale = float(self.model.logit_scale.detach().exp())

    def tokenize(self, texts: list[str]) -> Tokens:
        return tokenize(self._tokenizer, texts, self.context_length, self.device)

    def embed_tokens(self, ids: Tensor) -> Tensor:
        return self.model.text.transformer.get_input_embeddings()(ids)

    def encode_text(self, embeddings: Tensor, mask: Tensor, deep: Tensor | None = None) -> Tensor:
        tower = self.model.text
        with deep_prompts(tower.transformer.encoder.layer, deep):
            output = tower.transformer(inputs_embeds=embeddings, attention_mask=square_mask(mask))
        return tower.proj(tower.pooler(output, mask))

    def attention_projections(self, tower: Tower) -> list[dict[str, Projection]]:
        if tower == "text":
            return bert_projections(self.model.text.transformer)
        return fused_projections(self.model.visual.trunk.blocks)

    def set_text_dropout(self, on: bool) -> None:
        self.model.text.train(on)

    def encode_image(self, pixels: Tensor, prompt: VisualPrompt | None = None) -> Tensor:
        tower = self.model.visual
        may_shorten = not self.is_adapted(tower.trunk.blocks[-1].attn.qkv)
        return tower.head(forward_with_prompt(tower.trunk, pixels, prompt or NO_PROMPT, may_shorten))


@BACKBONE_REGISTRY.register()
class Tiny(BiomedCLIP):
    """The default backbone, part of this package: about a million parameters, trained on phantom images.

    Made by tools/make_tiny.py.
    """

    def __init__(self, path: str = ""):
        super().__init__(path or str(Path(__file__).parent / "tiny"))


def build_open_clip(model_cfg: dict, folder: Path) -> LibraryModule:
    """Build an open_clip model with random weights from the `model_cfg` of a hub configuration.

    The configuration of its BERT is read from config.json in the folder, or else from the repository that the text
    configuration names (the local cache or the hub). BiomedCLIP's is also part of this package.
    """
    from open_clip.model import CustomTextCLIP

    text_cfg = dict(model_cfg["text_cfg"], hf_model_pretrained=False)
    text_cfg["hf_model_name"] = find_bert_config(folder, text_cfg["hf_model_name"], CONFIG_FILE)
    vision_cfg = dict(model_cfg["vision_cfg"], timm_model_pretrained=False)
    return CustomTextCLIP(model_cfg["embed_dim"], vision_cfg, text_cfg)
