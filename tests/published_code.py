"""Models of the published BiomedCoOp and Biomed-DPT code in its own modules, whose state dicts are its checkpoints."""

import torch
from torch import nn
from torch.nn import functional as F


class Holder(nn.Module):
    """A module with the given parts: modules, parameters, and tensors as buffers."""

    def __init__(self, **parts):
        super().__init__()
        for name, part in parts.items():
            if isinstance(part, torch.Tensor) and not isinstance(part, nn.Parameter):
                self.register_buffer(name, part)
            else:
                setattr(self, name, part)


def learner(backbone, prompts, n_ctx, **more):
    """A prompt learner, with the embeddings of its whole prompts, padded to the length of the context."""
    tokens = backbone.tokenize(prompts)
    ids = F.pad(tokens.ids, (0, backbone.context_length - tokens.ids.shape[1]))
    with torch.no_grad():
        embedded = backbone.embed_tokens(ids)
    ctx = nn.Parameter(torch.sin(torch.arange(n_ctx * backbone.text_width).float()).view(n_ctx, -1))
    return Holder(ctx=ctx, token_prefix=embedded[:, :1], token_suffix=embedded[:, 1 + n_ctx :], **more)


def biomed_dpt(backbone, prompts, n_ctx):
    """Biomed-DPT on BiomedCLIP: the image tower wraps the whole model."""
    model = backbone.model
    wrapped = Holder(clipmodel=model, image_encoder=model.visual)
    return whole(learner(backbone, prompts, n_ctx), wrapped, Holder(model=model), model.logit_scale)


def biomed_coop(backbone, prompts, n_ctx):
    """BiomedCoOp on BiomedCLIP, with a second image tower for its teacher."""
    model = backbone.model
    prompt_learner = learner(backbone, prompts, n_ctx, ZS_image_encoder=model.visual)
    return whole(prompt_learner, model.visual, Holder(model=model), model.logit_scale)


def dpt(backbone, prompts, n_ctx):
    """DPT on BiomedCLIP: learned tokens in the image tower too."""
    model = backbone.model
    tokens = nn.Parameter(torch.cos(torch.arange(4 * backbone.vision_width).float()).view(4, -1) / 50)
    wrapped = Holder(image_encoder=model.visual, ctx_learner=Holder(ctx=tokens))
    return whole(learner(backbone, prompts, n_ctx), wrapped, Holder(model=model), model.logit_scale)


def biomed_dpt_clip(backbone, prompts, n_ctx):
    """Biomed-DPT on CLIP, whose visual prompts are parameters that stay zero."""
    model = separate_projections(backbone.model)
    text = ("transformer", "positional_embedding", "ln_final", "text_projection")
    zeros = nn.Parameter(torch.zeros(1, 4, 8)), nn.Parameter(torch.zeros(2, 4, 8))
    wrapped = Holder(
        clipmodel=model, image_encoder=model.visual, prompt_embeddings=zeros[0], deep_prompt_embeddings=zeros[1]
    )
    encoder = Holder(**{name: getattr(model, name) for name in text})
    return whole(learner(backbone, prompts, n_ctx), wrapped, encoder, model.logit_scale)


def biomed_coop_pmcclip(backbone, prompts, n_ctx):
    """BiomedCoOp on PMC-CLIP, whose model has modules of its own and a logit scale that is no tensor."""
    projection = backbone.projection
    model = Holder(image_encoder=backbone.visual, text_encoder=backbone.text, text_projection_layer=projection)
    encoder = Holder(model=model, text_encoder=backbone.text, text_projection_layer=projection)
    return whole(learner(backbone, prompts, n_ctx), backbone.visual, encoder)


def whole(prompt_learner, image_encoder, text_encoder, logit_scale=None):
    """The state dict of the whole model, in which copies of a tower share their memory."""
    parts = {} if logit_scale is None else {"logit_scale": logit_scale}
    parts |= {"prompt_learner": prompt_learner, "image_encoder": image_encoder, "text_encoder": text_encoder}
    return Holder(**parts).state_dict()


def separate_projections(model):
    """A CLIP with PyTorch's names of attention weights, as in OpenAI's code."""
    import copy

    model = copy.deepcopy(model)
    for block in (*model.transformer.resblocks, *model.visual.transformer.resblocks):
        fused = block.attn
        block.attn = Holder(in_proj_weight=fused.qkv.weight, in_proj_bias=fused.qkv.bias, out_proj=fused.out_proj)
    return model
