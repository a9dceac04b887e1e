"""PMC-CLIP (Lin et al., arXiv 2303.07240): a convolutional image tower and a BERT text tower."""

import math
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clip.backbone import BACKBONE_REGISTRY, Backbone, LibraryModule, Projection, Tokens, Tower, VisualPrompt
from clip.bert import (
    BERT_BASE_FOLDER,
    bert_projections,
    fill_buffers,
    load_tokenizer,
    square_mask,
    tokenize,
    vocabulary,
)
from clip.deep import deep_prompts
from clip.hub import Source, building_from, find_files, load_weights, read_json_object, read_weights
from clip.layouts import check_dimensions, read_state_dict
from clip.openai import PIXEL_MEAN, PIXEL_STD
from dassl.errors import InputError, shown
from dassl.utils.tensors import why_unusable

IMAGE_FILE, TEXT_FILE, PROJECTION_FILE = "image_encoder(resnet50).pth", "text_encoder.pth", "text_projection_layer.pth"
TOKENIZER_FILES = ("tokenizer.json", "vocab.txt")
TOKENIZER_SOURCE = Source("microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract-fulltext", (TOKENIZER_FILES,))
STAGES = ("layer1", "layer2", "layer3", "layer4")


@BACKBONE_REGISTRY.register(name="PMC-CLIP")
class PMCCLIP(Backbone):
    """CLIP's ResNet-50 and a PubMedBERT, trained on figures of PubMed Central and their captions.

    Source: Hugging Face data set axiong/pmc_oa; licence: see the repository. 224 pixels, CLIP's normalisation, shared
    width 768, context 77, logit scale exp(4.4292) = 83.86, which is not part of the files. The text
    features are BERT's pooler output, multiplied by a matrix.

    The shapes of the weights do not determine the number of heads in the attention pool. The authors' notebook and the
    published comparisons use 8, and so does this class; the authors' training configuration gives 32
    (width * 32 / 64).
    """

    visual: LibraryModule
    text: LibraryModule

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
        words = self.text.embeddings.word_embeddings.num_embeddings
        self._tokenizer = load_tokenizer(_find_tokenizer(image.parent), words)

    def tokenize(self, texts: list[str]) -> Tokens:
        return tokenize(self._tokenizer, texts, self.context_length, self.device)

    def embed_tokens(self, ids: Tensor) -> Tensor:
        return self.text.get_input_embeddings()(ids)

    def vocabulary(self) -> tuple[list[str], Tensor]:
        return vocabulary(self._tokenizer, self.text.get_input_embeddings().weight)

    def encode_text(self, embeddings: Tensor, mask: Tensor, deep: Tensor | None = None) -> Tensor:
        with deep_prompts(self.text.encoder.layer, deep):
            output = self.text(inputs_embeds=embeddings, attention_mask=square_mask(mask))
        return output.pooler_output @ self.projection

    def encode_image(self, pixels: Tensor, prompt: VisualPrompt | None = None) -> Tensor:
        """Compute image features (B, embed_dim) from normalised pixels (B, 3, image_size, image_size).

        A zero prompt of n tokens sets the first n channels to zero before each of the first `depth` stages.

        Raises:
            InputError: the prompt has values, is to be inserted, or has more tokens than the tower has channels.
        """
        zeroed, depth = self._zeroed_channels(prompt)
        hidden = self.visual.stem(pixels)
        for stage, name in enumerate(STAGES):
            if stage < depth:
                hidden = F.pad(hidden[:, zeroed:], (0, 0, 0, 0, zeroed, 0))
            hidden = getattr(self.visual, name)(hidden)
        return self.visual.attnpool(hidden)

    def last_feature_map(self) -> nn.Module:
        return getattr(self.visual, STAGES[-1])

    def _zeroed_channels(self, prompt: VisualPrompt | None) -> tuple[int, int]:
        """Return how many channels a prompt sets to zero, and before how many stages."""
        if prompt is None:
            return 0, 0
        if prompt.values is not None or prompt.placement != "replace" or prompt.positions:
            raise InputError(
                "PMC-CLIP's image tower is a ResNet and has no token sequence, so it cannot take a visual prompt that "
                "is learned or inserted; use a zero prompt with placement 'replace', which sets channels to zero, or "
                "a backbone with a vision transformer"
            )
        channels = self.visual.conv3.out_channels
        if prompt.tokens > channels:
            raise InputError(
                f"a visual prompt of {prompt.tokens} tokens sets {prompt.tokens} channels of PMC-CLIP's image tower "
                f"to zero, but its first stage has {channels}; use fewer tokens"
            )
        return prompt.tokens, len(STAGES) if prompt.depth is None else prompt.depth

    def attention_projections(self, tower: Tower) -> list[dict[str, Projection]]:
        if tower == "text":
            return bert_projections(self.text)
        raise InputError(
            "PMC-CLIP's image tower is a ResNet and has no self-attention blocks; adapt only its text tower, or use a "
            "backbone with a vision transformer"
        )

    def set_text_dropout(self, on: bool) -> None:
        self.text.train(on)


def _image_tower(file: Path, heads: int) -> LibraryModule:
    """Build open_clip's ModifiedResNet from a weight file; the shapes of the weights determine its sizes."""
    from open_clip.modified_resnet import ModifiedResNet

    weights = read_state_dict(file)
    for key in [key for key in weights if key.endswith(".running_mean")]:
        # Only training uses the counters of batch norm, and not every file holds them.
        weights[key.replace("running_mean", "num_batches_tracked")] = torch.tensor(0)
    size_keys = {"layer1.0.conv1.weight": 4, "attnpool.positional_embedding": 2, "attnpool.c_proj.weight": 2}
    check_dimensions(file, weights, size_keys)
    width, patches, features = (len(weights[key]) for key in size_keys)
    blocks = [len({key.split(".")[1] for key in weights if key.startswith(f"{stage}.")}) for stage in STAGES]
    with building_from(file), torch.device("meta"):  # the file's tensors replace the weights: allocate none
        tower = ModifiedResNet(blocks, features, heads, image_size=32 * math.isqrt(patches - 1), width=width)
    load_weights(tower, weights, file)
    return tower


def _text_tower(file: Path) -> LibraryModule:
    """Build BERT with its pooler, as config.json in the file's folder describes it, or else as a BERT base."""
    from transformers import BertConfig, BertModel

    own = file.parent / "config.json"
    described_by = own if own.is_file() else BERT_BASE_FOLDER / "config.json"
    config = read_json_object(described_by)
    with building_from(described_by), torch.device("meta"):
        tower = BertModel(BertConfig(**config))
    load_weights(tower, read_state_dict(file, drop=("embeddings.position_ids",)), file)
    fill_buffers(tower.embeddings)
    return tower


def _projection(file: Path, shape: tuple[int, int]) -> nn.Parameter:
    """Read the matrix that projects the text features."""
    matrix = read_weights(file)
    if not isinstance(matrix, Tensor) or tuple(matrix.shape) != shape:
        found = shown(tuple(matrix.shape), 60) if isinstance(matrix, Tensor) else type(matrix).__name__
        raise InputError(f"'{file}' must hold a matrix of shape {shape}, not {found}; download the file again")
    if problem := why_unusable(matrix):
        raise InputError(f"the matrix in '{file}' {problem}; download the file again")
    return nn.Parameter(matrix.detach().float())


def _find_tokenizer(folder: Path) -> Path:
    """Find a tokeniser file in a folder, or else in the repository that PMC-CLIP's BERT comes from."""
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
