"""Exported models equal PyTorch; what cannot be exported, or differs, is refused and leaves no file."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from biomed_dpt.__main__ import main
from biomed_dpt.export import Difference, export_model
from biomed_dpt.export.classifier import ImageClassifier
from biomed_dpt.export.difference import largest_difference
from biomed_dpt.export.formats import FORMATS, KEY, Format, trace
from clip import build_backbone
from dassl.errors import InputError, OutputError
from tests.bundles import CLASSES, random_bundle
from tests.registered import METHOD_CLASSES, METHODS
from tools.random_model import small_clip, small_pmcclip
from trainers.bundle import Bundle, write_bundle
from trainers.predictor import Predictor

PROJECT = Path(__file__).resolve().parent.parent
REASON = "pip install -r requirements-export.txt"
EXPORTED = [cls for cls in METHOD_CLASSES if not cls.text_depends_on_image]


def code_of(function):
    return function.__code__.co_code, function.__code__.co_names


# Methods with the same code in these functions compute the same in an exported model; one of each is traced.
KINDS = {tuple(map(code_of, (cls.logits, cls.visual_prompt, cls.adapted))): cls.__name__ for cls in EXPORTED}
WRITTEN = {"BiomedDPT", "CLIPLoRA", "VPTDeep"}  # traced by the tests that write files


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory):
    return small_clip(tmp_path_factory.mktemp("weights") / "clip")


@pytest.fixture(scope="module")
def backbones(tiny, clip_folder, tmp_path_factory):
    """A backbone of each layout of weights; PubMedCLIP has the class of CLIP, and BiomedCLIP that of Tiny."""
    pmcclip = small_pmcclip(tmp_path_factory.mktemp("weights") / "pmcclip")
    return {
        "Tiny": tiny,
        "CLIP": build_backbone("CLIP", str(clip_folder)),
        "PMC-CLIP": build_backbone("PMC-CLIP", str(pmcclip)),
    }


@pytest.fixture(scope="module")
def predictor(backbones):
    def make(method="CoOp", backbone="CLIP", **more):
        return Predictor(random_bundle(method, backbones[backbone], **more), backbones[backbone], device="cpu")

    return make


@pytest.mark.parametrize("method", [cls.__name__ for cls in EXPORTED])
def test_the_module_that_is_exported_equals_the_predictor(method, predictor):
    whole = predictor(method)
    with torch.no_grad():
        found = largest_difference(ImageClassifier(whole), whole)
    assert found.logits == 0
    assert found.largest_logit > 0.1
    assert found.probabilities < 1e-6
    assert not list(ImageClassifier(whole).parameters())


def test_every_kind_of_method_is_exported_by_a_test():
    assert {*KINDS.values()} >= WRITTEN


@pytest.mark.parametrize("method", sorted({*KINDS.values()} - WRITTEN))
def test_every_kind_of_method_is_traced_for_any_number_of_images(method, predictor):
    whole = predictor(method)
    program = trace(whole)
    with torch.no_grad():
        assert largest_difference(program.module(), whole).largest < 1e-6
    text = [value.shape for value in program.constants.values() if len(value.shape) == 2 and value.shape[0] == 49408]
    assert text == []  # the embeddings of the text tower's words


@pytest.mark.parametrize(("method", "backbone"), [("BiomedDPT", "Tiny"), ("BiomedDPT", "PMC-CLIP")])
def test_onnx_files_equal_pytorch_on_each_layout(method, backbone, predictor, tmp_path):
    for name in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(name, reason=REASON)
    lines = []
    found = export_model(predictor(method, backbone), tmp_path / "new" / "a.onnx", report=lines.append)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.onnx"]
    assert found.largest < 1e-5
    assert lines == [str(found)]
    assert re.search(r"batches of 1 and 3: logits \d\S* \(the largest logit is \S+\), probabilities \d", lines[0])


def test_a_program_is_read_back_with_its_metadata(predictor, tmp_path):
    whole = predictor("VPTDeep", temperature=0.5)
    export_model(whole, tmp_path / "a.pt2")
    extra = {"metadata.json": ""}
    program = torch.export.load(tmp_path / "a.pt2", extra_files=extra)
    pixels = torch.randn(5, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    logits, probabilities = program.module()(pixels)
    expected = whole.logits(whole.features(pixels))
    assert torch.allclose(logits, expected, atol=1e-5)
    assert torch.allclose(probabilities.double(), whole.probabilities(expected), atol=1e-5)
    about = json.loads(extra["metadata.json"])
    assert about == {
        "format": 1,
        "purpose": "For research only. Not a medical device.",
        "classes": CLASSES,
        "temperature": 0.5,
        "calibration": {"temperature": 0.5, "fitted_on": "validation shots", "images": 6},
        "size": [32, 32],
        "interpolation": "bicubic",
        "mean": [0.48145466, 0.4578275, 0.40821073],
        "std": [0.26862954, 0.26130258, 0.27577711],
        "instance_norm": False,
        "orientation": "apply",
        "method": "VPTDeep",
        "backbone": {"name": "CLIP", "digest": whole.backbone.digest},
        "digest": whole.bundle.about["digest"],
    }


def test_the_command_and_the_example_of_the_documentation(backbones, clip_folder, tmp_path, monkeypatch, capsys):
    """Images of odd sizes, grey, coloured, turned: onnxruntime, NumPy and Pillow against the predictor."""
    onnxruntime = pytest.importorskip("onnxruntime", reason=REASON)
    pytest.importorskip("onnxscript", reason=REASON)
    bundle = random_bundle("CLIPLoRA", backbones["CLIP"])
    write_bundle(tmp_path / "run" / "bundle", bundle, "card")
    model = tmp_path / "model.onnx"
    words = ["--backbone-path", str(clip_folder), "--opset", "18"]
    assert main(["export", str(tmp_path / "run"), str(model), *words]) == 0
    assert f"written: '{model}'" in capsys.readouterr().out
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    assert [(value.name, value.shape) for value in session.get_inputs()] == [("pixels", ["batch", 3, 32, 32])]
    assert [value.name for value in session.get_outputs()] == ["logits", "probabilities"]
    assert json.loads(session.get_modelmeta().custom_metadata_map[KEY])["classes"] == CLASSES

    random = np.random.default_rng(0)
    files = []
    for name, shape in {"wide.png": (171, 333, 3), "tall.png": (401, 199), "small.png": (60, 53, 3)}.items():
        Image.fromarray(random.integers(0, 256, shape, dtype=np.uint8)).save(tmp_path / name)
        files.append(str(tmp_path / name))
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.open(files[0]).save(tmp_path / "turned.jpg", exif=turned, quality=95)
    files.append(str(tmp_path / "turned.jpg"))
    page = (PROJECT / "docs" / "EXPORT.md").read_text(encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["predict_with_onnx.py", str(model), *files])
    exec(re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)[0], {"__name__": "__main__"})
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]

    predictor = Predictor(bundle, backbones["CLIP"], device="cpu")
    pictures = [predictor.reader(file) for file in files]
    probabilities = predictor.probabilities(predictor.logits(predictor.features(predictor.pixels(pictures))))
    assert [row[0] for row in rows] == files
    assert [row[1] for row in rows] == [CLASSES[k] for k in probabilities.argmax(1)]
    assert [float(row[2]) for row in rows] == pytest.approx(probabilities.amax(1).tolist(), abs=2e-5)


def test_other_classes_are_exported_with_temperature_one(backbones):
    from biomed_dpt.export.metadata import metadata

    bundle = random_bundle("CoOp", backbones["CLIP"])
    about = metadata(Predictor(bundle, backbones["CLIP"], classnames=["cyst", "scar"], device="cpu"))
    assert (about["classes"], about["temperature"], about["calibration"]) == (["cyst", "scar"], 1.0, None)


def test_preprocessing_without_normalisation_is_stated_as_mean_zero_and_standard_deviation_one(predictor):
    from biomed_dpt.export.metadata import metadata

    whole = predictor()
    preprocessing = {**whole.bundle.about["preprocessing"], "TRANSFORMS": ["instance_norm"]}
    whole.bundle = Bundle({**whole.bundle.about, "preprocessing": preprocessing}, whole.bundle.tensors)
    about = metadata(whole)
    assert (about["mean"], about["std"], about["instance_norm"]) == ([0.0] * 3, [1.0] * 3, True)


def test_the_largest_difference_counts_logits_by_their_size_and_probabilities_as_they_are():
    assert Difference(0.4, 80.0, 0.3, 0.001).largest == pytest.approx(0.005)  # 0.4 / 80
    assert Difference(0.4, 0.5, 0.3, 0.001).largest == pytest.approx(0.4)
    assert Difference(0.0, 80.0, 0.3, 0.02).largest == pytest.approx(0.02)


def test_differences_of_a_wrong_model_are_found(predictor):
    whole = predictor(temperature=20.0)

    def shifted(pixels):
        logits = whole.logits(whole.features(pixels)) + torch.tensor([0.25, 0, 0])
        return logits, whole.probabilities(logits).float()

    found = largest_difference(shifted, whole)
    assert found.logits == pytest.approx(0.25, abs=1e-4)
    assert 0 < found.probabilities <= 0.25 / 20 / 4 * 1.01  # the slope of a softmax is at most a quarter
    assert found.softmax < 1e-6
    without_temperature = largest_difference(lambda x: (y := shifted(x)[0], y.softmax(1)), whole)
    assert without_temperature.softmax > 0.01
    for wrong in (lambda x: (x[:, :2, 0, 0], x[:, :2, 0, 0]), lambda x: [torch.full((len(x), 3), torch.nan)] * 2):
        with pytest.raises(InputError, match="another shape, or numbers that are not finite"):
            largest_difference(wrong, whole)


@pytest.mark.parametrize(
    ("out", "words", "message"),
    [
        ("a.pt2", ["--tolerance", "-1"], "the tolerance is -1.0; it must be a number above 0"),
        ("a.pt2", ["--tolerance", "nan"], "the tolerance is nan"),
        ("a.pt2", ["--opset", "18"], "an opset is for ONNX files"),
        ("a.pt", [], "has the suffix '.pt'; the name must end in .onnx or .pt2"),
        ("a.onnx", ["--opset", "9"], "the opset is 9; it must be at least 18"),
        ("", [], "is a folder; name a file"),
        ("a.pt2", ["--backbone-path", "nowhere"], "nowhere"),
    ],
)
def test_refusals_leave_no_file(out, words, message, backbones, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("biomed_dpt.export.formats.find_spec", lambda name: name)
    write_bundle(tmp_path / "bundle", random_bundle("CoOp", backbones["CLIP"]), "card")
    (tmp_path / "out").mkdir()
    assert main(["export", str(tmp_path / "bundle"), str(tmp_path / "out" / out), *words]) == 2
    assert message in capsys.readouterr().err
    assert list((tmp_path / "out").iterdir()) == []


def test_a_model_that_differs_is_not_written_and_an_earlier_file_stays(predictor, tmp_path, monkeypatch):
    whole = predictor()

    def run(pixels):
        logits = whole.logits(whole.features(pixels))
        return logits + 0.01, whole.probabilities(logits).float()

    fake = Format(lambda _predictor, path, *_: path.write_text("new") and None, lambda _path: run)
    monkeypatch.setitem(FORMATS, ".pt2", fake)
    path = tmp_path / "a.pt2"
    path.write_text("old")
    with pytest.raises(InputError, match=r"is not written: the exported model differs from PyTorch by 0.000"):
        export_model(whole, path)
    assert (path.read_text(), len(list(tmp_path.iterdir()))) == ("old", 1)
    export_model(whole, path, tolerance=0.01)
    assert (path.read_text(), len(list(tmp_path.iterdir()))) == ("new", 1)
    with pytest.raises(OutputError, match="cannot be written"):
        export_model(whole, path / "b.pt2", tolerance=0.01)


def test_text_that_depends_on_the_image_is_refused_before_a_backbone_is_read(backbones, tmp_path, capsys, monkeypatch):
    assert [name for name in METHODS if name not in {cls.__name__ for cls in EXPORTED}] == ["CoCoOp"]
    monkeypatch.setattr("trainers.predictor.build_backbone", lambda *_: pytest.fail("was read"))
    write_bundle(tmp_path / "bundle", random_bundle("CoCoOp", backbones["CLIP"]), "card")
    assert main(["export", str(tmp_path / "bundle"), str(tmp_path / "a.pt2")]) == 2
    assert "CoCoOp cannot be exported: it computes text features for every image" in capsys.readouterr().err


def test_missing_libraries_are_named(predictor, tmp_path, monkeypatch):
    monkeypatch.setattr("biomed_dpt.export.formats.find_spec", lambda name: None if name == "onnxruntime" else name)
    with pytest.raises(InputError, match=r"needs onnxruntime: pip install -r requirements-export.txt"):
        export_model(predictor(), tmp_path / "a.onnx")


def test_a_method_that_cannot_be_traced_is_named(predictor, tmp_path, monkeypatch):
    def trace_with_an_error(_):
        raise RuntimeError("Could not guard on data-dependent expression\nand many more lines")

    monkeypatch.setattr("biomed_dpt.export.formats.trace", trace_with_an_error)
    with pytest.raises(InputError, match=r"CoOp on CLIP cannot be exported: Could not guard on data-dependent \w+$"):
        export_model(predictor(), tmp_path / "a.pt2")
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_in_half_precision_is_exported_in_fp32_and_says_so(backbones, monkeypatch):
    from biomed_dpt.export import _in_fp32

    bundle = random_bundle("CoOp", backbones["CLIP"])
    half = Bundle({**bundle.about, "precision": {"features": "bf16", "method": "fp32"}}, bundle.tensors)
    lines = []
    whole = _in_fp32(Predictor(half, backbones["CLIP"], device="cpu"), lines.append)
    assert lines == ["note: the bundle computes in bf16; the exported model computes in fp32"]
    with torch.no_grad():
        assert largest_difference(ImageClassifier(whole), whole).logits == 0
