"""What a learned context becomes: exact distances, the same training with and without recording, files, refusals."""

import csv
import json

import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from biomed_dpt.explain.words import LearnedVector, Neighbour
from dassl.errors import InputError
from evidence.__main__ import main
from evidence.learning import Learning, text_distances, train_recorded, vector_distances
from evidence.word_files import HEADER, words_text, write_files
from prompts import load_prompts

TWO_EPOCHS = ["OPTIM.MAX_EPOCH", 2, "OPTIM.WARMUP_EPOCH", 1]


def test_distances_by_hand():
    one = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.6, 0.8]])
    other = torch.tensor([[0.0, 1.0], [0.6, 0.8], [-0.6, -0.8]])
    assert text_distances(one, other).tolist() == pytest.approx([1.0, 0.0, 2.0])
    assert text_distances(one, one).tolist() == [0.0, 0.0, 0.0]
    start = torch.tensor([[0.0, 0.0], [1.0, 1.0]])
    assert vector_distances(start + torch.tensor([3.0, 4.0]), start).tolist() == [5.0, 5.0]
    of_classes = torch.stack([start, start])
    moved = of_classes + torch.tensor([[[1.0, 0.0]], [[0.0, 2.0]]])
    assert vector_distances(moved, of_classes).tolist() == [1.0, 1.0, 2.0, 2.0]


@pytest.fixture
def recorded(build, few_images):
    def _recorded():
        trainer = build(opts=[*TWO_EPOCHS, "TRAINER.BIOMEDDPT.TEXT_DROPOUT", True])
        return trainer, train_recorded(trainer, count=2)

    return _recorded


def test_recording_changes_nothing_and_is_deterministic(recorded, build):
    trainer, learning = recorded()
    alone = build(opts=[*TWO_EPOCHS, "TRAINER.BIOMEDDPT.TEXT_DROPOUT", True])
    alone.train()
    assert torch.equal(alone.method.context.ctx, trainer.method.context.ctx)
    assert torch.equal(alone.predictions["all"].logits, trainer.predictions["all"].logits)
    assert [loss for _, loss in alone.history["train/loss"]] == [loss for _, loss in trainer.history["train/loss"]]
    assert recorded()[1] == learning


def test_the_recorded_numbers(recorded):
    trainer, learning = recorded()
    prompts, names, backbone = load_prompts("phantom"), learning.classnames, trainer.backbone
    assert learning.distances["template"][0] == pytest.approx([0.0] * 8, abs=1e-10)  # Biomed-DPT starts from it
    assert [len(learning.distances[name]) for name in ("template", "photo", "teacher")] == [3, 3, 3]
    with torch.no_grad():
        learned = backbone.encode_text(trainer.method.context(), trainer.method.context.tokens.mask)
        sentences = backbone.encode_sentences([text for name in names for text in prompts[name][:50]])
        texts = {
            "template": backbone.encode_sentences([f"a phantom scan of a {name}." for name in names]),
            "photo": backbone.encode_sentences([f"a photo of a {name}." for name in names]),
            "teacher": F.normalize(sentences, dim=-1).view(8, 50, -1).mean(1),
        }
    for name, text in texts.items():
        expected = 1 - F.cosine_similarity(learned.double(), text.double())
        assert learning.distances[name][-1] == pytest.approx(expected.tolist(), abs=1e-7)
    assert learning.moved[0] == [0.0] * 5
    assert [near.neighbours[0].word for near in learning.start] == ["a", "phantom", "scan", "of", "a"]
    # In two epochs no vector comes near another word: the distance to its own word is how far it moved.
    assert [near.neighbours[0].distance for near in learning.learned] == pytest.approx(learning.moved[-1], rel=1e-4)
    losses = [loss for _, loss in trainer.history["train/loss"]]
    assert learning.losses == pytest.approx([sum(losses[:2]) / 2, sum(losses[2:]) / 2])
    assert learning.about["accuracy in %"] == trainer.evaluation["all"]["accuracy"]


def test_no_clinical_texts_without_a_prompt_file(build, few_images):
    trainer = build("CoOp", opts=["OPTIM.MAX_EPOCH", 1, "TRAINER.COOP.CSC", True])
    trainer.method.setup.prompts = ""
    learning = train_recorded(trainer, count=1)
    assert list(learning.distances) == list(learning.texts) == ["photo"]
    assert learning.distances["photo"][0] == pytest.approx([0.0] * 8, abs=1e-10)
    assert len(learning.moved[0]) == len(learning.start) == 8 * 4
    assert learning.start[4].classname == learning.classnames[1]
    with pytest.raises(InputError, match="LinearProbe learns no text context"):
        train_recorded(build("LinearProbe"))


def test_names_are_escaped_and_a_random_start_is_no_word(tmp_path):
    about = {"method": "A|B", "backbone": "Tiny", "dataset": "d", "shots": 1, "seed": 1}
    learning = Learning(
        about, ["=a|b"], {"photo": "a photo of a {}."}, {"photo": [[0.25], [0.5]]}, [[0.0], [3.0]], [1.5]
    )
    learning.start = [LearnedVector("", 1, [Neighbour("far", 0.5, 0.9)])]
    learning.learned = [LearnedVector("", 1, [Neighbour("<b>|", 0.75, 0.8)])]
    assert words_text(learning).splitlines()[::2] == [
        "## A\\|B, d, Tiny, K = 1, seed 1",
        "| 1 − cosine to (mean over classes)   | before   | after epoch 1   |",
        "| a photo of a {}.                    | 0.2500   | 0.5000          |",
        "| class   | vector   | starts as                     | moved   | nearest words (distance)   |",
        "| all     | 1        | no word; nearest: far (0.500) | 3.000   | &lt;b>\\| (0.750)           |",
        "Moved: Euclidean distance to the start after the last epoch. Distances to words are Euclidean, too.",
    ]
    write_files([learning], tmp_path)
    assert (tmp_path / "distances.csv").read_text().splitlines()[-4:] == [
        "A|B,1,1 - cosine to photo,mean over classes,0.5",
        "A|B,1,1 - cosine to photo,'=a|b,0.5",
        "A|B,1,Euclidean distance of vector to its start,1,3.0",
        "A|B,1,training loss,,1.5",
    ]


def test_the_command(few_images, tmp_path, capsys):
    words = ["words", "--trainers", "BiomedDPT,CoOp", "--shots", "1", "--root", str(few_images), "--count", "2"]
    words += ["--output", str(tmp_path / "out"), *map(str, TWO_EPOCHS)]
    assert main(words) == 0
    printed = capsys.readouterr()
    assert "## BiomedDPT, Phantom, Tiny, K = 1, seed 1, accuracy" in printed.out
    assert "4/4" in printed.err
    content = json.loads((tmp_path / "out" / "words.json").read_text())
    assert content["version"] == 1
    first, second = content["trainings"]
    assert (first["about"]["method"], second["about"]["method"]) == ("BiomedDPT", "CoOp")
    assert Learning(**first).distances["teacher"][2] == first["distances"]["teacher"][2]
    header, *rows = csv.reader((tmp_path / "out" / "distances.csv").read_text().splitlines())
    assert tuple(header) == HEADER
    value = next(row[-1] for row in rows if row[:4] == ["CoOp", "2", "1 - cosine to teacher", first["classnames"][3]])
    assert float(value) == second["distances"]["teacher"][2][3]
    # Per method: 3 epochs of 3 texts (mean and 8 classes) and of the vectors, and 2 losses.
    assert len(rows) == 3 * (27 + 5) + 2 + 3 * (27 + 4) + 2
    assert (tmp_path / "out" / "words.md").read_text().count("nearest words") == 2
    with Image.open(tmp_path / "out" / "distances.png") as picture:
        assert picture.width > 600
    assert (tmp_path / "out" / "distances.pdf").read_bytes().startswith(b"%PDF")
    assert main(words) == 2
    assert "words.json and distances.csv" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--trainers", "CoOp,CLIPAdapter"], "CLIPAdapter learns no text context"),
        (["--trainer", "ZeroShot"], "ZeroShot learns no text context"),
        (["--trainers", ","], "names no method"),
        (["--trainers", "COOP"], "Did you mean 'CoOp'"),
        (["RESUME", "x"], "RESUME has no effect here"),
        (["TRAINER.COOP.CSC", "True"], "no method of --trainers reads TRAINER.COOP.CSC"),
        (["--count", "0"], "the number of words is 0"),
    ],
)
def test_refusals(few_images, tmp_path, capsys, monkeypatch, more, message):
    monkeypatch.setattr("trainers.tuner.Tuner.train", lambda self: pytest.fail("it trains"))
    assert main(["words", "--root", str(few_images), "--shots", "1", "--output", str(tmp_path / "out"), *more]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
