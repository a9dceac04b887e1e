"""BiomedCLIP (Zhang et al., arXiv 2303.00915) and Tiny, a small model of the same architecture, through open_clip."""

from collections.abc import Callable
from math import isfinite
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
    vocabulary,
)
from clip.deep import deep_prompts
from clip.hub import WEIGHT_FILES, Source, building_from, find_files, load_weights, read_json_object
from clip.layouts import read_state_dict
from clip.vit import NO_PROMPT, forward_with_prompt, fused_projections
from dassl.errors import InputError, shown

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
        config = read_json_object(config_file)
        _check_config(config, config_file)
        if (bert_file := config_file.parent / "config.json").is_file():
            read_json_object(bert_file)
        with building_from(config_file), torch.device("meta"):  # the file's tensors replace the weights: allocate none
            self.model = build_open_clip(config["model_cfg"], config_file.parent)
            embeddings = self.model.text.transformer.embeddings
        positions = embeddings.position_embeddings.num_embeddings
        if config["model_cfg"]["text_cfg"]["context_length"] > positions:
            raise InputError(
                f"'{config_file}': context_length is more than the {positions} positions of the text tower"
            )
        load_weights(self.model, read_state_dict(weight_file, drop=(OBSOLETE_KEY,)), weight_file)
        fill_buffers(embeddings)
        self._tokenizer = load_tokenizer(tokenizer_file, embeddings.word_embeddings.num_embeddings)
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

    def vocabulary(self) -> tuple[list[str], Tensor]:
        return vocabulary(self._tokenizer, self.model.text.transformer.get_input_embeddings().weight)

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


def _check_config(config: dict, file: Path) -> None:
    """An InputError where an entry that is read is missing from a hub configuration, or of another type."""

    def is_size(value: object) -> bool:
        return type(value) is int and value > 1

    def are_channels(value: object) -> bool:
        return (
            isinstance(value, list) and len(value) == 3 and all(type(v) in (int, float) and isfinite(v) for v in value)
        )

    def check(node: object, name: str, rule: Callable[[object], bool], words: str) -> None:
        for part in name.split("."):
            node = node.get(part) if isinstance(node, dict) else None
        if not rule(node):
            raise InputError(f"'{file}': {name} is {shown(node, 60)}; it must be {words}; download the file again")

    for name in ("model_cfg.embed_dim", "model_cfg.text_cfg.context_length"):
        check(config, name, is_size, "a whole number above 1")
    check(config, "model_cfg.vision_cfg", lambda value: isinstance(value, dict), "an object")
    check(config, "model_cfg.text_cfg.hf_model_name", lambda value: isinstance(value, str), "a text")
    check(config, "preprocess_cfg.mean", are_channels, "three numbers")
    check(config, "preprocess_cfg.std", are_channels, "three numbers above 0")
    if min(config["preprocess_cfg"]["std"]) <= 0:
        raise InputError(f"'{file}': preprocess_cfg.std is not above 0; download the file again")


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
