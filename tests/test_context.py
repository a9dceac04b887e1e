"""Where the learned context stands in a prompt."""

import pytest
import torch

from clip.backbone import Backbone, Tokens
from dassl.errors import InputError
from trainers.context import TextContext

VOCABULARY = ["[pad]", "[start]", "[end]", "a", "scan", "of", "b", "c", "d", "in", "lung", "."]


class Spelled(Backbone):
    """A backbone whose tokens are words and whose embeddings spell them: the embedding of token k is (k, k)."""

    context_length = 12

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def tokenize(self, texts):
        rows = [[1, *(VOCABULARY.index(w) for w in text.replace(".", " .").split()), 2] for text in texts]
        length = max(map(len, rows))
        ids = torch.tensor([row + [0] * (length - len(row)) for row in rows])
        return Tokens(ids, (ids > 0).long())

    def embed_tokens(self, ids):
        return ids[..., None].expand(-1, -1, 2).float()


def spelled(context, ctx):
    """The prompts as words, the k-th context token spelled <k>."""
    with torch.no_grad():
        context.ctx.copy_(ctx)
    rows = []
    for row, mask in zip(context()[..., 0].tolist(), context.tokens.mask.tolist(), strict=True):
        words = [VOCABULARY[int(v)] if v >= 0 else f"<{-int(v)}>" for v in row]
        rows.append(" ".join(w for w, keep in zip(words, mask, strict=True) if keep))
    return rows


NUMBERED = -torch.arange(1.0, 4.0)[:, None].expand(3, 2)


@pytest.mark.parametrize(
    ("position", "expected"),
    [
        ("end", ["[start] <1> <2> <3> b in lung . [end]", "[start] <1> <2> <3> c d in lung . [end]"]),
        ("middle", ["[start] <1> b <2> <3> in lung . [end]", "[start] <1> c d <2> <3> in lung . [end]"]),
        ("front", ["[start] b <1> <2> <3> in lung . [end]", "[start] c d <1> <2> <3> in lung . [end]"]),
    ],
)
def test_all_tokens_of_a_class_name_move(position, expected):
    context = TextContext(Spelled(), ["b", "c d"], "a scan of", " in lung.", position=position)
    assert context.n_ctx == 3
    assert spelled(context, NUMBERED) == expected


def test_rest_of_a_longer_prefix_stays_frozen():
    context = TextContext(Spelled(), ["b"], "a scan of", ".", n_ctx=2)
    assert spelled(context, NUMBERED[:2]) == ["[start] <1> <2> of b . [end]"]
    context = TextContext(Spelled(), ["b"], "a scan of", ".", n_ctx=2, position="front")
    assert spelled(context, NUMBERED[:2]) == ["[start] b <1> <2> of . [end]"]


def test_context_starts_from_the_words_it_replaces():
    context = TextContext(Spelled(), ["b"], "a scan of", ".")
    assert context.ctx[:, 0].tolist() == [VOCABULARY.index(w) for w in ("a", "scan", "of")]
    plain = Spelled().tokenize(["a scan of b."])
    torch.testing.assert_close(context(), Spelled().embed_tokens(plain.ids))


def test_random_and_class_specific_contexts():
    torch.manual_seed(0)
    context = TextContext(Spelled(), ["b", "c d"], "a a a", ".", random_init=True, class_specific=True)
    assert context.ctx.shape == (2, 3, 2)
    assert 0 < context.ctx.abs().max() < 0.1
    with pytest.raises(InputError, match="2 classes cannot serve 1 others"):
        context.set_classes(["d"])


def test_other_classes_keep_the_learned_context():
    context = TextContext(Spelled(), ["b"], "a scan of", ".")
    context.set_classes(["c d", "d"])
    assert spelled(context, NUMBERED) == ["[start] <1> <2> <3> c d . [end]", "[start] <1> <2> <3> d . [end]"]
    assert list(context.state_dict()) == ["ctx"]


def test_gradient_reaches_the_context_alone():
    context = TextContext(Spelled(), ["b", "c d"], "a scan of", ".")
    context().sum().backward()
    assert context.ctx.grad.tolist() == [[2.0, 2.0]] * 3  # each context token stands in two prompts


def test_bad_input():
    with pytest.raises(InputError, match=r"unknown class token position 'ende'\. Did you mean 'end'"):
        TextContext(Spelled(), ["b"], "a scan of", ".", position="ende")
    with pytest.raises(InputError, match="N_CTX is 4, but the prompt's start 'a scan of' has 3 tokens"):
        TextContext(Spelled(), ["b"], "a scan of", ".", n_ctx=4)
    with pytest.raises(InputError, match="the prompt of class 'b b b b b b b b' has 14 tokens, the backbone takes 12"):
        TextContext(Spelled(), ["b", "b b b b b b b b"], "a scan of", ".")
