"""The page in headless Chromium: images are uploaded, and the answers read."""

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from biomed_dpt.app import MOST_FILES, Answer, answer, build_page, served, to_html
from dassl.errors import InputError
from trainers.bundle import Bundle, write_bundle
from trainers.predictor import Predictor

CONFORMAL = {"kind": "lac", "coverage": 0.9, "threshold": 0.95, "images": 40}


@pytest.fixture(scope="module")
def predictor(tmp_path_factory, few_images):
    """ZeroShot on the phantom, as its run leaves it, with a threshold of prediction sets."""
    from configs import Choice, build_cfg
    from dassl.engine import build_trainer

    folder = tmp_path_factory.mktemp("page")
    cfg = build_cfg(Choice("ZeroShot", root=str(few_images), shots=1, opts=["DATALOADER.NUM_WORKERS", "0"]))
    trainer = build_trainer(cfg)
    bundle = trainer.bundle({**trainer.calibration(), "conformal": CONFORMAL}, {})
    return Predictor(
        write_bundle(folder / "bundle", bundle, "---\nlibrary_name: x\n---\n# The card\n"), trainer.backbone
    )


@pytest.fixture(scope="module")
def images(few_images, tmp_path_factory):
    """Two images of the phantom, a damaged one and one of 16 bits."""
    folder = tmp_path_factory.mktemp("images")
    paths = sorted((few_images / "Phantom").rglob("*.png"))[:2]
    for k, path in enumerate(paths):
        (folder / f"scan{k}.png").write_bytes(path.read_bytes())
    (folder / "damaged.png").write_bytes(b"no image")
    Image.fromarray((torch.arange(4096).reshape(64, 64) * 16).to(torch.uint16).numpy()).save(folder / "deep.png")
    return folder


def test_an_answer_is_what_the_predictor_says(predictor, images):
    found = answer(predictor, str(images / "scan0.png"), explainer="")
    picture = predictor.reader(str(images / "scan0.png"))
    expected = predictor.probabilities(predictor.logits(predictor.features(predictor.pixels([picture]))))[0]
    assert found.rows[0][0] == predictor.classnames[expected.argmax()]
    assert sorted(share for _, share in found.rows) == sorted(expected.tolist())
    assert set(found.members) == {n for n, p in zip(predictor.classnames, expected, strict=True) if p >= 0.05}
    assert found.notes == ["8 bit, read as it is", "shorter side resized, centre cut to 160 x 160, normalised"]


def test_what_was_done_to_the_pixels_is_said(predictor, images):
    assert "16 bit, rescaled" in answer(predictor, str(images / "deep.png"), explainer="").notes


def test_an_unreadable_file_is_an_answer_without_its_folder(predictor, images):
    found = answer(predictor, str(images / "damaged.png"), explainer="")
    assert "image 'damaged.png' cannot be read" in found.error
    assert str(images) not in found.error


def test_names_are_escaped():
    page = to_html([Answer("<b>.png", "<i>"), Answer("a", "", [("<script>", 0.5)], ["<u>"], ["<s>"])], 0.9)
    assert not any(tag in page for tag in ("<b>", "<i>", "<script>", "<u>", "<s>"))


def test_a_bundle_without_a_threshold_has_no_prediction_set(predictor, images):
    about = {**predictor.bundle.about, "calibration": {"temperature": 1.0, "fitted_on": "uncalibrated"}}
    plain = Predictor(replace(predictor.bundle, about=about), predictor.backbone)
    assert isinstance(plain.bundle, Bundle)
    assert answer(plain, str(images / "scan0.png"), explainer="").members is None


def test_a_port_in_use_is_an_error(predictor):
    pytest.importorskip("gradio", reason="needs requirements-app.txt")
    with served(predictor, "") as address:
        port = int(address.rstrip("/").rpartition(":")[2])
        with pytest.raises(InputError, match=f"port {port}"), served(predictor, "", port):
            pass


def test_uploaded_images_are_classified(predictor, images, browser):
    pytest.importorskip("gradio", reason="needs requirements-app.txt")
    size = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    with served(predictor) as address:
        assert address.startswith("http://127.0.0.1:")
        browser.get(address)
        wait_for(lambda: browser.find_elements("css selector", "#files input[type=file]"))
        names = ("scan0.png", "scan1.png", "damaged.png")
        upload = browser.find_element("css selector", "#files input[type=file]")
        upload.send_keys("\n".join(str(images / name) for name in names))
        sections = wait_for(lambda: browser.find_elements("css selector", "#results section"))
        assert len(sections) == 3
        best = answer(predictor, str(images / "scan0.png"), explainer="").rows[0]
        assert f"scan0.png: {best[0]}" in sections[0].text
        assert f"{best[1]:.1%}" in sections[0].text
        assert "Prediction set (coverage 90%)" in sections[0].text
        assert f"Where the score of '{best[0]}' rests" in sections[0].text
        assert "cannot be read" in sections[2].text
        text = browser.find_element("css selector", "body").text
        assert "For research only" in text
        assert "calibrated on validation shots" in text
        wide = "return document.documentElement.scrollWidth"
        assert browser.execute_script(wide) <= 390
        errors = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
        assert errors == []
        kept = Path(os.environ["GRADIO_TEMP_DIR"])
        assert [path for path in kept.rglob("*") if path.is_file() and path.stat().st_size] == []
    assert not kept.exists()


def test_too_many_images_are_refused(predictor, images, monkeypatch):
    gradio = pytest.importorskip("gradio", reason="needs requirements-app.txt")
    page = build_page(predictor, "")
    classify = next(fn.fn for fn in page.fns.values() if fn.fn.__name__ == "classify")
    with pytest.raises(gradio.Error, match=f"at most {MOST_FILES}"):
        classify([str(images / "none.png")] * (MOST_FILES + 1))


def wait_for(find, seconds=60):
    """What `find` returns as soon as that is not empty."""
    until = time.monotonic() + seconds
    while not (found := find()):
        assert time.monotonic() < until, "the page does not answer"
        time.sleep(0.1)
    return found
