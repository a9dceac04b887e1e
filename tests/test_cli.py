"""The command line as a user meets it: what it writes, what it refuses, and with which exit code."""

import json
import shutil

import pytest
import torch
from PIL import Image

import train
from datasets.phantom import Phantom
from datasets.splits import make_split
from tools.random_model import small_model

FAST = ["OPTIM.MAX_EPOCH", "2"]


def stored_parameters(folder):
    return sum(value.numel() for value in torch.load(folder / "model.pth", weights_only=True)["state_dict"].values())


def test_a_run_leaves_its_files(command, tmp_path):
    code, printed = command("--trainer", "BiomedDPT", "--shots", 1, *FAST)
    assert code == 0
    assert "* accuracy: " in printed.out
    assert "took 0:0" in printed.out
    folder = tmp_path / "run"
    assert {p.name for p in folder.iterdir()} == {
        "log.txt", "config.yaml", "model.pth", "results.json", "predictions.csv", "bundle", "COMPLETE",
    }  # fmt: skip
    results = json.loads((folder / "results.json").read_text())
    assert {k: results[k] for k in ("method", "backbone", "dataset", "protocol", "shots", "seed", "variant")} == {
        "method": "BiomedDPT", "backbone": "Tiny", "dataset": "phantom", "protocol": "few_shot",
        "shots": 1, "seed": 1, "variant": "clean",
    }  # fmt: skip
    metrics = results["metrics"]["all"]
    assert set(metrics) == {
        "total", "correct", "accuracy", "macro_f1", "balanced_accuracy", "auroc", "auroc_interval", "ece", "brier",
        "sensitivity", "specificity", "confusion_matrix",
    }  # fmt: skip
    assert f"* accuracy: {metrics['accuracy']:.1f}%" in (folder / "log.txt").read_text()
    assert len(metrics["sensitivity"]) == 8
    assert len(results["loss_per_epoch"]) == 2
    assert results["trainable_parameters"] == stored_parameters(folder)
    assert results["split"]["origin"] == "generated"
    assert results["prompts"]["file"] == "phantom.json"
    assert results["environment"]["torch"] == torch.__version__.split("+")[0]
    stored = torch.load(folder / "model.pth", weights_only=True)
    assert list(stored["state_dict"]) == ["context.ctx"]
    assert (folder / "model.pth").stat().st_size < 50_000


def test_a_complete_run_is_not_repeated_and_other_settings_are_refused(command, tmp_path):
    command("--trainer", "CoOp", "--shots", 1, *FAST)
    stamp = (tmp_path / "run" / "model.pth").stat().st_mtime_ns
    code, printed = command("--trainer", "CoOp", "--shots", 1, *FAST, "DATALOADER.NUM_WORKERS", 1)
    assert code == 0
    assert "complete already" in printed.out
    assert (tmp_path / "run" / "model.pth").stat().st_mtime_ns == stamp
    code, printed = command("--trainer", "CoOp", "--shots", 1, "OPTIM.MAX_EPOCH", 3)
    assert code == 2
    assert "-OPTIM.MAX_EPOCH: 2\n+OPTIM.MAX_EPOCH: 3" in printed.err
    code, _ = command("--trainer", "CoOp", "--shots", 1, "OPTIM.MAX_EPOCH", 3, "--overwrite")
    assert code == 0
    assert len(json.loads((tmp_path / "run" / "results.json").read_text())["loss_per_epoch"]) == 3


def test_overwrite_leaves_strange_folders_alone(command, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("precious")
    code, printed = command("--trainer", "CoOp", "--shots", 1, "--overwrite", *FAST)
    assert code == 2
    assert "does not look like a run's folder" in printed.err
    assert (tmp_path / "run" / "thesis.tex").is_file()


def test_base2new_tests_both_halves(command, tmp_path):
    code, printed = command("--trainer", "CoOp", "--protocol", "base2new", "--shots", 2, *FAST)
    assert code == 0
    metrics = json.loads((tmp_path / "run" / "results.json").read_text())["metrics"]
    base, new = metrics["base"]["accuracy"], metrics["new"]["accuracy"]
    assert metrics["H"] == pytest.approx(2 * base * new / (base + new))
    assert next(iter(metrics["base"]["sensitivity"])) == "cyst in fatty tissue"
    assert next(iter(metrics["new"]["sensitivity"])) == "stellate mass in fatty tissue"
    assert f"H {metrics['H']:.2f} %" in printed.out


def test_evaluation_of_a_trained_model(command, tmp_path):
    command("--trainer", "CoOp", "--shots", 2, *FAST)
    expected = json.loads((tmp_path / "run" / "results.json").read_text())["metrics"]["all"]["accuracy"]
    words = ["--trainer", "CoOp_Tiny", "--shots", 2, "--eval-only", "--model-dir", tmp_path / "run", "--load-epoch", 2]
    code, printed = command(*words, out=None)
    assert code == 0
    assert f"accuracy {expected:.2f} %" in printed.out
    code, printed = command("--trainer", "BiomedDPT", "--eval-only", "--model-dir", tmp_path / "run", out=None)
    assert code == 2
    assert "is of method CoOp, this run has method BiomedDPT" in printed.err
    code, printed = command(*words[:-1], 7, out=None)
    assert code == 2
    assert "is of epoch 2, epoch 7 was asked for" in printed.err
    code, printed = command("--trainer", "CoOp", "--eval-only", "--model-dir", tmp_path / "none", out=None)
    assert code == 2
    assert "no checkpoint at" in printed.err
    code, printed = command("--trainer", "CoOp", "--eval-only", out=None)
    assert code == 2
    assert "--eval-only needs --model-dir" in printed.err


def test_coop_style_config_files(command, tmp_path):
    (tmp_path / "data.yaml").write_text("DATASET:\n  NAME: Phantom\n")
    (tmp_path / "method.yaml").write_text(
        "DATALOADER:\n  TRAIN_X:\n    BATCH_SIZE: 4\n  NUM_WORKERS: 0\nINPUT:\n  SIZE: (224, 224)\n"
        "  INTERPOLATION: bicubic\n  TRANSFORMS: ['random_resized_crop', 'random_flip', 'normalize']\n"
        "OPTIM:\n  NAME: sgd\n  LR: 0.002\n  MAX_EPOCH: 2\n  LR_SCHEDULER: cosine\n  WARMUP_EPOCH: 1\n"
        "  WARMUP_TYPE: constant\n  WARMUP_CONS_LR: 1e-5\nTRAIN:\n  PRINT_FREQ: 5\n"
        "MODEL:\n  BACKBONE:\n    NAME: ViT-B/16\n"
    )
    words = ["--trainer", "CoOp", "--dataset-config-file", tmp_path / "data.yaml", "--config-file"]
    code, _ = command(*words, tmp_path / "method.yaml", "TRAINER.COOP.N_CTX", 4, "DATASET.NUM_SHOTS", 1, "SEED", 2)
    assert code == 0
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert (results["shots"], results["seed"]) == (1, 2)
    stored = (tmp_path / "run" / "config.yaml").read_text()
    assert "random_flip" in stored
    assert "BATCH_SIZE: 4" in stored


def test_published_variant_turns_text_dropout_on(command, tmp_path):
    code, _ = command("--trainer", "BiomedDPT", "--shots", 1, "--published", *FAST)
    assert code == 0
    assert "TEXT_DROPOUT: true" in (tmp_path / "run" / "config.yaml").read_text()
    assert json.loads((tmp_path / "run" / "results.json").read_text())["variant"] == "published"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--trainer", "BiomedDP"],
            "unknown trainer 'BiomedDP'. Did you mean 'BiomedDPT'? Available: BiomedCoOp, BiomedDPT",
        ),
        (["--trainer", "CoOp", "--dataset", "btmr"], "unknown dataset 'btmr'. Did you mean 'btmri'? Available: btmri"),
        (["--trainer", "CoOp", "--backbone", "biomedclip"], "unknown backbone 'biomedclip'. Did you mean 'BiomedCLIP'"),
        (["--trainer", "CoOp_Tiny", "--backbone", "BiomedCLIP"], "name different backbones"),
        (["--trainer", "CoOp", "--protocol", "fewshot"], "unknown protocol 'fewshot'. Did you mean 'few_shot'"),
        (["--trainer", "CoOp", "OPTIM.LRR", "1"], "unknown configuration key 'OPTIM.LRR'. Did you mean 'OPTIM.LR'"),
        (["--trainer", "CoOp", "OPTIM.LR"], "come as KEY VALUE pairs; got OPTIM.LR"),
        (["--trainer", "CoOp", "OPTIM.MAX_EPOCH", "many"], "command line: OPTIM.MAX_EPOCH many: "),
        (["--trainer", "CoOp", "--config-file", "none.yaml"], "configuration file 'none.yaml' does not exist"),
        (["--trainer", "CoOp", "--dataset", "busi"], "images"),
        (["--trainer", "CoOp", "--shots", "21"], "class 'cyst in fatty tissue' has 20 training images; use --shots 20"),
        (["--trainer", "CoOp", "--shots", "0"], "at least 1 image per class is needed"),
        (["--trainer", "CoOp", "TRAINER.COOP.PREC", "fp8"], "unknown choice (TRAINER.COOP.PREC) 'fp8'"),
        (["--trainer", "CoOp", "OPTIM.NAME", "sdg"], "unknown choice (OPTIM.NAME) 'sdg'. Did you mean 'sgd'"),
        (
            ["--trainer", "VPT", "TRAINER.VPT.VISUAL_PLACEMENT", "add"],
            "unknown choice (TRAINER.VPT.VISUAL_PLACEMENT) 'add'",
        ),
        (["--trainer", "ProGrad", "TRAINER.PROGRAD.TEACHER", "me"], "Available: self, zeroshot"),
        (
            ["--trainer", "MaPLe", "--backbone", "PMC-CLIP"],
            "tower of this backbone is a convolutional network",
        ),
        (["--trainer", "LPpp", "--protocol", "base2new"], "has none for new classes"),
        (["--trainer", "BiomedDPT", "TRAINER.BIOMEDDPT.N_PROMPTS", "51"], "has 50 sentences, 51 were asked for"),
    ],
)
def test_bad_input_is_named_and_exits_with_2(command, words, message):
    code, printed = command(*words)
    assert code == 2
    assert message in printed.err
    assert "Traceback" not in printed.err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("OPTIM:\n  LRR: 1\n", "unknown configuration key 'OPTIM.LRR'. Did you mean 'OPTIM.LR'"),
        ("OPTIM: {LR: [}", "while parsing"),
        ("- a\n", "must hold KEY: VALUE lines"),
        ("OPTIM:\n  MAX_EPOCH: soon\n", "OPTIM.MAX_EPOCH is 'soon'; it must be of type int"),
    ],
)
def test_bad_configuration_file_is_named(command, tmp_path, content, message):
    (tmp_path / "bad.yaml").write_text(content)
    code, printed = command("--trainer", "CoOp", "--config-file", tmp_path / "bad.yaml")
    assert code == 2
    assert str(tmp_path / "bad.yaml") in printed.err
    assert message in printed.err


def test_bad_data_and_weights_exit_with_2(command, tmp_path, phantom_root, monkeypatch):
    code, printed = command("--trainer", "CoOp", "--dataset", "btmri", root=tmp_path / "nowhere")
    assert code == 2
    assert "does not exist; name it with --root" in printed.err
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    code, printed = command("--trainer", "CoOp", "--backbone", "BiomedCLIP")
    assert code == 2
    assert "neither in the local cache nor can they be downloaded" in printed.err
    shutil.copytree(phantom_root, tmp_path / "copy")
    images = tmp_path / "copy" / "Phantom" / "Phantom"
    victim = images / make_split(images, Phantom.classes).test[0][0]
    Image.effect_noise((160, 160), 50).convert("RGB").save(tmp_path / "whole.jpg")
    victim.write_bytes((tmp_path / "whole.jpg").read_bytes()[:2000])
    code, printed = command("--trainer", "CoOp", *FAST, root=tmp_path / "copy")
    assert code == 2
    assert f"unreadable images: '{victim}'" in printed.err


def test_missing_words_exit_with_2():
    with pytest.raises(SystemExit) as stopped:
        train.main([])
    assert stopped.value.code == 2


def test_prompts_that_the_data_set_lacks(command, tmp_path):
    for name in ("well", "ill"):
        (tmp_path / "Own" / "Own" / name).mkdir(parents=True)
        for k in range(8):
            Image.new("L", (40, 40), 10 * k).save(tmp_path / "Own" / "Own" / name / f"{k}.png")
    (tmp_path / "own.yaml").write_text("DATASET:\n  NAME: Folder\n  FOLDER: Own\n  CLASSES: ['well', 'ill']\n")
    words = ["--dataset-config-file", tmp_path / "own.yaml", "--shots", 2, *FAST]
    code, printed = command("--trainer", "BiomedDPT", *words, root=tmp_path)
    assert code == 2
    assert "needs a clinical template and sentences for each class" in printed.err
    code, _ = command("--trainer", "CoOp", *words, root=tmp_path, out="coop")
    assert code == 0
    assert json.loads((tmp_path / "coop" / "results.json").read_text())["dataset"] == "own"


def test_biomedclip_from_a_local_folder(command, tmp_path):
    folder = small_model(tmp_path / "model", "test_vit")
    code, _ = command("--trainer", "BiomedDPT_BiomedCLIP", "--shots", 1, *FAST, "MODEL.BACKBONE.PATH", folder,
                      "TRAINER.BIOMEDDPT.N_PROMPTS", 2)  # fmt: skip
    assert code == 0
    assert json.loads((tmp_path / "run" / "results.json").read_text())["backbone"] == "BiomedCLIP"


def test_real_images(command, shared, tmp_path):
    """Brain MR images in a read-only folder: a split is made outside it, a run goes to its end."""
    folder = tmp_path / "data" / "BTMRI"
    folder.mkdir(parents=True)
    (folder / "BTMRI").symlink_to(shared / "data" / "BTMRI" / "BTMRI")
    folder.chmod(0o555)
    try:
        words = ["--trainer", "BiomedDPT", "--dataset", "btmri", "--shots", 16, *FAST]
        code, _ = command(*words, root=folder.parent)
        assert [path.name for path in folder.iterdir()] == ["BTMRI"]
    finally:
        folder.chmod(0o755)
    assert code == 0
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["metrics"]["all"]["total"] == 144
    assert results["split"]["origin"] == "generated"
