"""PMC-CLIP (Lin et al., arXiv 2303.07240): a convolutional image tower and a BERT."""

import json
import math
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clip.backbone import BACKBONE_REGISTRY, Backbone, Projection, Tokens, VisualPrompt
from clip.bert import CARRIED, bert_projections, fill_buffers, load_tokenizer, square_mask, tokenize
from clip.deep import deep_prompts
from clip.hub import Source, check_keys, find_files, load_weights, read_weights
from clip.layouts import read_state_dict
from clip.openai import PIXEL_MEAN, PIXEL_STD
from dassl.errors import InputError

IMAGE_FILE, TEXT_FILE, PROJECTION_FILE = "image_encoder(resnet50).pth", "text_encoder.pth", "text_projection_layer.pth"
TOKENIZER_FILES = ("tokenizer.json", "vocab.txt")
TOKENIZER_SOURCE = Source("microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract-fulltext", (TOKENIZER_FILES,))
STAGES = ("layer1", "layer2", "layer3", "layer4")


@BACKBONE_REGISTRY.register(name="PMC-CLIP")
class PMCCLIP(Backbone):
    """CLIP's ResNet-50 and a PubMedBERT, trained on figures of PubMed Central and their captions.

    Source: Hugging Face data set axiong/pmc_oa; licence: see the repository. 224 pixels, CLIP's normalisation, shared
    width 768, context 77, logit scale exp(4.4292) = 83.86, which no file holds. Text features are BERT's pooler output
    times a matrix.

    The number of heads in the attention pool cannot be read off the weights. The authors' notebook and the published
    comparisons use 8, and so does this class; the authors' training configuration gives 32 (width * 32 / 64).
    """

    image_tokens = False
    name = "PMC-CLIP"
    pixel_mean, pixel_std = PIXEL_MEAN, PIXEL_STD
    vision_width = vision_depth = 0
    context_length = 77
    logit_scale = math.exp(4.4292)
    pool_heads = 8
    source = Source("axiong/pmc_oa", (IMAGE_FILE, TEXT_FILE, PROJECTION_FILE), dataset=True)

    def __init__(self, path: str = ""):
        super().__init__()
        image, text, projection = find_files(path, self.source)
        self.visual = _image_tower(image, self.pool_heads)
        self.text = _text_tower(text)
        self.image_size, self.embed_dim = self.visual.image_size, self.visual.output_dim
        self.text_width, self.text_depth = self.text.config.hidden_size, self.text.config.num_hidden_layers
        self.projection = _projection(projection, (self.text_width, self.embed_dim))
        self._tokenizer = load_tokenizer(_find_tokenizer(image.parent))

    def tokenize(self, texts: list[str]) -> Tokens:
        return tokenize(self._tokenizer, texts, self.context_length, self.device)

    def embed_tokens(self, ids: Tensor) -> Tensor:
        return self.text.get_input_embeddings()(ids)

    def encode_text(self, embeddings: Tensor, mask: Tensor, deep: Tensor | None = None) -> Tensor:
        with deep_prompts(self.text.encoder.layer, deep):
            output = self.text(inputs_embeds=embeddings, attention_mask=square_mask(mask))
        return output.pooler_output @ self.projection

    def encode_image(self, pixels: Tensor, prompt: VisualPrompt | None = None) -> Tensor:
        """Image features (B, embed_dim); a zero prompt zeroes the first channels before each of the first stages.

        Raises:
            InputError: a prompt that holds values, is inserted or is wider than the tower.
        """
        zeroed, depth = self._zeroed_channels(prompt)
        hidden = self.visual.stem(pixels)
        for stage, name in enumerate(STAGES):
            if stage < depth:
                hidden = F.pad(hidden[:, zeroed:], (0, 0, 0, 0, zeroed, 0))
            hidden = getattr(self.visual, name)(hidden)
        return self.visual.attnpool(hidden)

    def _zeroed_channels(self, prompt: VisualPrompt | None) -> tuple[int, int]:
        if prompt is None:
            return 0, 0
        if prompt.values is not None or prompt.placement != "replace":
            raise InputError(
                "PMC-CLIP's image tower is a ResNet and has no token sequence: visual prompts that are learned or "
                "inserted have no place in it; use zero prompts with placement 'replace', which zero channels, or a "
                "backbone with a vision transformer"
            )
        channels = self.visual.conv3.out_channels
        if prompt.tokens > channels:
            raise InputError(
                f"a visual prompt of {prompt.tokens} tokens zeroes as many channels of PMC-CLIP's image tower, whose "
                f"first stage has {channels}; use fewer tokens"
            )
        return prompt.tokens, len(STAGES) if prompt.depth is None else prompt.depth

    def attention_projections(self, tower: str) -> list[dict[str, Projection]]:
        if tower == "text":
            return bert_projections(self.text)
        raise InputError(
            "PMC-CLIP's image tower is a ResNet and has no blocks of self-attention; adapt its text tower alone, or "
            "use a backbone with a vision transformer"
        )

    def set_text_dropout(self, on: bool) -> None:
        self.text.train(on)


def _image_tower(file: Path, heads: int) -> nn.Module:
    """open_clip's ModifiedResNet with the weights in a file, its sizes read off their shapes."""
    from open_clip.modified_resnet import ModifiedResNet

    weights = read_state_dict(file)
    for key in [key for key in weights if key.endswith(".running_mean")]:
        # Batch norm's counters matter to training alone, and not every file has them.
        weights[key.replace("running_mean", "num_batches_tracked")] = torch.tensor(0)
    telling = ("layer1.0.conv1.weight", "attnpool.positional_embedding", "attnpool.c_proj.weight")
    check_keys(file, [key for key in telling if key not in weights], [])
    width, places, features = (len(weights[key]) for key in telling)
    blocks = [len({key.split(".")[1] for key in weights if key.startswith(f"{stage}.")}) for stage in STAGES]
    with torch.device("meta"):  # no memory and no random numbers for weights that the file replaces
        tower = ModifiedResNet(blocks, features, heads, image_size=32 * math.isqrt(places - 1), width=width)
    load_weights(tower, weights, file)
    return tower


def _text_tower(file: Path) -> nn.Module:
    """BERT with its pooler, of the sizes in the folder's config.json, else of a BERT base."""
    from transformers import BertConfig, BertModel

    own = file.parent / "config.json"
    config = json.loads((own if own.is_file() else CARRIED / "config.json").read_text())
    with torch.device("meta"):
        tower = BertModel(BertConfig(**config))
    load_weights(tower, read_state_dict(file, drop=("embeddings.position_ids",)), file)
    fill_buffers(tower.embeddings)
    return tower


def _projection(file: Path, shape: tuple[int, int]) -> nn.Parameter:
    matrix = read_weights(file)
    if not isinstance(matrix, Tensor) or tuple(matrix.shape) != shape:
        found = tuple(matrix.shape) if isinstance(matrix, Tensor) else type(matrix).__name__
        raise InputError(f"'{file}' should hold a matrix {shape}, it holds {found}; fetch the file again")
    return nn.Parameter(matrix.detach().float())


def _find_tokenizer(folder: Path) -> Path:
    for name in TOKENIZER_FILES:
        if (folder / name).is_file():
            return folder / name
    try:
        return find_files("", TOKENIZER_SOURCE)[0]
    except InputError as error:
        raise InputError(
            f"'{folder}' has no {' or '.join(TOKENIZER_FILES)}, and the one of '{TOKENIZER_SOURCE.repository}' is "
            "neither in the local cache nor can it be downloaded. On a machine with a network: hf download "
            f"{TOKENIZER_SOURCE.repository} vocab.txt --local-dir FOLDER; then put the file beside the weights."
        ) from error
