"""Finding weights in folders and in the hub's cache without a network; checks of the files' content."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import huggingface_hub
import pytest
import torch
from safetensors.torch import load_file, save_file

from clip import build_backbone, checksum
from clip.pmcclip import IMAGE_FILE, PROJECTION_FILE, TEXT_FILE
from dassl.errors import InputError
from tools.random_model import fill_cache, small_clip, small_pmcclip, small_pubmedclip

PROJECT = Path(__file__).resolve().parent.parent
CLIP_FILE, PUBMED_FILE = "open_clip_model.safetensors", "PubMedCLIP_ViT32.pth"
LOAD = "import sys; from clip import build_backbone; print(*(build_backbone(name).digest for name in sys.argv[1:]))"


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    made = {"CLIP": small_clip, "PubMedCLIP": small_pubmedclip, "PMC-CLIP": small_pmcclip}
    return {name: write(root / name) for name, write in made.items()}


@pytest.fixture
def copy(folders, tmp_path):
    """A function that copies a model's folder, for tests that change it."""
    return lambda name: Path(shutil.copytree(folders[name], tmp_path / name))


def test_backbones_load_from_the_hubs_cache_without_a_network(folders, tmp_path):
    pmc = folders["PMC-CLIP"]
    fill_cache(tmp_path, "timm/vit_base_patch16_clip_224.openai", [folders["CLIP"] / CLIP_FILE])
    fill_cache(tmp_path, "sarahESL/PubMedCLIP", [folders["PubMedCLIP"] / PUBMED_FILE])
    # The genuine repository has no config.json; the small BERT needs one for its sizes.
    stored = [pmc / name for name in (IMAGE_FILE, TEXT_FILE, PROJECTION_FILE, "config.json")]
    fill_cache(tmp_path, "axiong/pmc_oa", stored, kind="dataset")
    bert = "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract-fulltext"
    fill_cache(tmp_path, bert, [pmc / "tokenizer.json"])
    env = {**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(PROJECT)}
    done = subprocess.run([sys.executable, "-c", LOAD, *folders], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [build_backbone(name, str(folder)).digest for name, folder in folders.items()]


def test_error_of_an_empty_cache_says_how_to_download(folders, tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))

    def error_message(name):
        with pytest.raises(InputError) as raised:
            build_backbone(name)
        return str(raised.value)

    absent = "are neither in the local cache nor can they be downloaded (LocalEntryNotFoundError). "
    hint = absent + "On a machine with a network: hf download"
    assert f"{hint} timm/vit_base_patch16_clip_224.openai --local-dir FOLDER" in error_message("CLIP")
    assert f"{hint} sarahESL/PubMedCLIP --local-dir FOLDER" in error_message("PubMedCLIP")
    files = f"'{IMAGE_FILE}' {TEXT_FILE} {PROJECTION_FILE}"
    assert f"{hint} --repo-type dataset axiong/pmc_oa {files} --local-dir FOLDER" in error_message("PMC-CLIP")
    stored = [folders["PMC-CLIP"] / name for name in (IMAGE_FILE, TEXT_FILE, PROJECTION_FILE, "config.json")]
    fill_cache(tmp_path, "axiong/pmc_oa", stored, kind="dataset")
    assert "has no tokenizer.json or vocab.txt" in error_message("PMC-CLIP")
    assert error_message("PMC-CLIP").endswith("put the file beside the weights.")


def test_folders_without_the_files_are_refused(tmp_path):
    for name in ("CLIP", "PubMedCLIP", "PMC-CLIP"):
        with pytest.raises(InputError, match=r"none' does not exist. On a machine with a network: hf download"):
            build_backbone(name, str(tmp_path / "none"))
    with pytest.raises(InputError, match=r"lacks open_clip_model.safetensors or .* or model.safetensors or"):
        build_backbone("CLIP", str(tmp_path))
    with pytest.raises(InputError, match=r"lacks PubMedCLIP_ViT32.pth or model.safetensors or pytorch_model.bin"):
        build_backbone("PubMedCLIP", str(tmp_path))
    (tmp_path / TEXT_FILE).touch()
    with pytest.raises(InputError, match=r"lacks image_encoder\(resnet50\).pth, text_projection_layer.pth"):
        build_backbone("PMC-CLIP", str(tmp_path))


def test_state_dicts_load_with_prefix_and_without_wrapper(folders, copy):
    folder = copy("PubMedCLIP")
    digest = build_backbone("PubMedCLIP", str(folder)).digest
    weights = torch.load(folder / PUBMED_FILE, weights_only=True)["state_dict"]
    prefixed = {f"module.{key}": value for key, value in weights.items()}
    torch.save({"state_dict": prefixed}, folder / PUBMED_FILE)
    assert build_backbone("PubMedCLIP", str(folder)).digest == digest
    torch.save(weights, folder / PUBMED_FILE, _use_new_zipfile_serialization=False)
    assert build_backbone("PubMedCLIP", str(folder)).digest == digest


def test_error_names_missing_and_unexpected_keys(copy):
    folder = copy("CLIP")
    weights = load_file(folder / CLIP_FILE)
    bias = weights.pop("visual.transformer.resblocks.1.attn.in_proj_bias")
    save_file({**weights, "visual.extra": bias}, folder / CLIP_FILE)
    named = r"missing keys \['visual.transformer.resblocks.1.attn.in_proj_bias'\], unexpected keys \['visual.extra'\]"
    with pytest.raises(InputError, match=named):
        build_backbone("CLIP", str(folder))
    del weights["text_projection"]
    save_file(weights, folder / CLIP_FILE)
    with pytest.raises(InputError, match=r"missing keys \['text_projection'\]"):
        build_backbone("CLIP", str(folder))
    save_file({**weights, "text_projection": torch.zeros(64, 16)}, folder / CLIP_FILE)
    with pytest.raises(
        InputError, match=r"do not fit the model: .*'visual.proj' has shape \(64, 32\), the model's \(64, 16\)"
    ):
        build_backbone("CLIP", str(folder))


def test_files_that_do_not_hold_a_clip_are_refused(copy):
    folder = copy("CLIP")
    weights = load_file(folder / CLIP_FILE)
    short = {"token_embedding.weight": weights["token_embedding.weight"][:3000].clone()}
    save_file({**weights, **short}, folder / CLIP_FILE)
    with pytest.raises(InputError, match="has 3000 word embeddings, but CLIP's tokeniser has 49408"):
        build_backbone("CLIP", str(folder))
    (folder / CLIP_FILE).unlink()
    save_file({"text_model.encoder.layers.0.self_attn.q_proj.bias": torch.zeros(4)}, folder / "model.safetensors")
    with pytest.raises(InputError, match=r"missing keys \['text_model.encoder.layers.0.self_attn.k_proj.bias'"):
        build_backbone("CLIP", str(folder))
    folder = copy("PubMedCLIP")
    torch.save([1, 2], folder / PUBMED_FILE)
    with pytest.raises(InputError, match="holds a list, not a state dict"):
        build_backbone("PubMedCLIP", str(folder))
    (folder / PUBMED_FILE).write_bytes(b"not a checkpoint")
    with pytest.raises(InputError, match="cannot be read"):
        build_backbone("PubMedCLIP", str(folder))


def test_each_of_pmcclips_files_is_checked(copy):
    folder = copy("PMC-CLIP")
    image = torch.load(folder / IMAGE_FILE, weights_only=True)
    counted = {key: value for key, value in image.items() if not key.endswith("num_batches_tracked")}
    digest = build_backbone("PMC-CLIP", str(folder)).digest
    torch.save({f"module.{key}": value for key, value in counted.items()}, folder / IMAGE_FILE)
    assert build_backbone("PMC-CLIP", str(folder)).digest == digest
    torch.save(torch.zeros(3, 3), folder / PROJECTION_FILE)
    with pytest.raises(InputError, match=r"must hold a matrix of shape \(64, 32\), not \(3, 3\)"):
        build_backbone("PMC-CLIP", str(folder))
    text = torch.load(folder / TEXT_FILE, weights_only=True)
    torch.save({**text, "extra": torch.zeros(1)}, folder / TEXT_FILE)
    with pytest.raises(InputError, match=r"text_encoder.pth' .* missing keys none, unexpected keys \['extra'\]"):
        build_backbone("PMC-CLIP", str(folder))
    del counted["attnpool.c_proj.weight"]
    torch.save(counted, folder / IMAGE_FILE)
    with pytest.raises(InputError, match=r"missing keys \['attnpool.c_proj.weight'\]"):
        build_backbone("PMC-CLIP", str(folder))


def test_damaged_file_in_the_cache_is_refused(tmp_path, monkeypatch):
    (tmp_path / "weights.bin").write_bytes(b"weights" * 1000)
    fill_cache(tmp_path, "a/b", [tmp_path / "weights.bin"])
    (file,) = (tmp_path / "hub").rglob("snapshots/*/weights.bin")
    checksum.verify(file)
    with monkeypatch.context() as patch:  # a file that passed is not read again
        patch.setattr(hashlib, "file_digest", None)
        checksum.verify(file)
    file.resolve().write_bytes(b"Weights" * 1000)
    os.utime(file.resolve(), ns=(0, 0))
    with pytest.raises(
        InputError, match=rf"is damaged: its sha256 is .* delete '{file.resolve()}' and download it again"
    ):
        checksum.verify(file)


def test_damaged_file_in_a_downloaded_folder_is_refused(copy):
    folder = copy("CLIP")
    records = folder / ".cache" / "huggingface" / "download"
    records.mkdir(parents=True)
    digest = hashlib.sha256((folder / CLIP_FILE).read_bytes()).hexdigest()
    (records / f"{CLIP_FILE}.metadata").write_text(f"{'0' * 40}\n{digest}\n1712656091.123\n")
    build_backbone("CLIP", str(folder))
    with open(folder / CLIP_FILE, "r+b") as file:
        file.truncate(file.seek(0, 2) - 4)
    with pytest.raises(
        InputError, match=r"is damaged: .*\(if you put this file there on purpose, delete '.*metadata' instead\)"
    ):
        build_backbone("CLIP", str(folder))
    (records / f"{CLIP_FILE}.metadata").write_text(f"{'0' * 40}\n{'0' * 40}\n1712656091.123\n")  # git's hash: no check
    checksum.verify(folder / CLIP_FILE)
