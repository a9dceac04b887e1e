"""A page in the browser that classifies images with a tuned model, on this computer only."""

import base64
import contextlib
import html
import io
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from dassl.errors import InputError
from trainers.bundle import CARD_FILE, UNCALIBRATED
from trainers.calibration import prediction_sets
from trainers.predictor import Predictor

ADDRESS = "127.0.0.1"  # other computers cannot reach it
LARGEST_FILE = "20mb"
MOST_FILES = 20
MAX_PIXELS = 50_000_000
SHOWN_SIDE = 512  # pixels of the longer side of a picture on the page
FONTS = ("system-ui", "sans-serif")
WARNING = "For research only. This is not a medical device, and its answers must not guide treatment."
NO_MAP = "No map: "
STYLE = """
.image {border-top: 1px solid #8886; padding: 0.75rem 0; display: flex; flex-wrap: wrap; gap: 1rem}
.image figure {flex: 0 1 280px; margin: 0}
.image img {width: 100%; height: auto}
.image div {flex: 1 1 260px; min-width: 0; overflow-wrap: anywhere}
.image table {width: 100%; border-collapse: collapse}
.image table, .image tr, .image td {border: 0 !important}
.image td {padding: 0.15rem 0.5rem 0.15rem 0}
.image td:nth-child(2) {width: 4rem; text-align: right}
.image td:last-child {width: 30%}
.image meter {width: 100%}
"""


@dataclass(frozen=True)
class Answer:
    """What the page shows for one image.

    Attributes:
        name: of the file.
        error: why it could not be classified; the other attributes are then empty.
        rows: class names with their probabilities, the most probable first.
        members: the classes of the prediction set; None where the bundle holds no threshold.
        notes: what was done to the pixels.
        picture: the image with the map over it, or the image alone.
        caption: what the picture shows.
    """

    name: str
    error: str = ""
    rows: Sequence[tuple[str, float]] = ()
    members: Sequence[str] | None = None
    notes: Sequence[str] = ()
    picture: Image.Image | None = None
    caption: str = ""


def answer(predictor: Predictor, path: str, explainer: str = "auto") -> Answer:
    """Classify an image file; an error of the file becomes the answer.

    Args:
        predictor: the tuned model.
        path: the file.
        explainer: of `biomed_dpt.explain`; "" for no map.
    """
    name, reader = Path(path).name, predictor.reader
    reader = replace(reader, max_pixels=min(reader.max_pixels, MAX_PIXELS))
    try:
        notes, picture = reader.notes(path), reader(path)
    except InputError as error:
        return Answer(name, str(error).replace(path, name))
    probabilities = predictor.probabilities(predictor.logits(predictor.features(predictor.pixels([picture]))))[0]
    rows = sorted(zip(predictor.classnames, probabilities.tolist(), strict=True), key=lambda row: -row[1])
    width, height = predictor.bundle.about["preprocessing"]["SIZE"]
    steps = [
        *(notes or ["8 bit, read as it is"]),
        f"shorter side resized, centre cut to {width} x {height}, normalised",
    ]
    shown, caption = _explained(predictor, picture, explainer)
    return Answer(name, "", rows, _members(predictor, probabilities), steps, shown, caption)


def _members(predictor: Predictor, probabilities: torch.Tensor) -> list[str] | None:
    conformal = predictor.conformal
    if not conformal:
        return None
    (chosen,) = prediction_sets(probabilities[None], conformal["threshold"], conformal["kind"])
    return [name for name, inside in zip(predictor.classnames, chosen.tolist(), strict=True) if inside]


def _explained(predictor: Predictor, picture: Image.Image, explainer: str) -> tuple[Image.Image, str]:
    """The picture with the map over it, and a caption; the picture alone where there is no map."""
    caption = "The image."
    if explainer:
        from biomed_dpt.explain import explain

        try:
            found = explain(predictor, picture, explainer)
            picture = found.overlay()
            caption = f"Where the score of '{found.classname}' rests ({found.explainer})."
        except InputError as error:
            caption = f"{NO_MAP}{error}"
    picture = picture.copy()
    picture.thumbnail((SHOWN_SIDE, SHOWN_SIDE))
    return picture, caption


def to_html(answers: Sequence[Answer], coverage: float | None = None) -> str:
    """The answers as HTML, in which everything that comes from a user is escaped."""
    return "".join(_one(found, coverage) for found in answers)


def _one(found: Answer, coverage: float | None) -> str:
    text = html.escape
    if found.error:
        return (
            f'<section class="image" role="alert"><div><h3>{text(found.name)}</h3>{text(found.error)}</div></section>'
        )
    rows = "".join(
        f'<tr><td>{text(name)}</td><td>{share:.1%}</td><td><meter value="{share:.4f}">{share:.1%}</meter></td></tr>'
        for name, share in found.rows
    )
    members = ""
    if found.members is not None:
        inside = text(", ".join(found.members)) or "no class"
        members = f"<p>Prediction set (coverage {coverage:.0%}): {inside}</p>"
    picture = ""
    if found.picture is not None:
        content = io.BytesIO()
        found.picture.save(content, "PNG")
        source = base64.b64encode(content.getvalue()).decode()
        caption = text(found.caption)
        picture = (
            f'<figure><img src="data:image/png;base64,{source}" alt="{caption}"><figcaption>{caption}</figcaption>'
        )
        picture += "</figure>"
    notes = text("; ".join(found.notes))
    return (
        f'<section class="image">{picture}<div><h3>{text(found.name)}: {text(found.rows[0][0])}</h3>'
        f"<table>{rows}</table>{members}<p>Pixels: {notes}.</p></div></section>"
    )


def build_page(predictor: Predictor, explainer: str = "auto") -> Any:
    """The page, a `gradio.Blocks`.

    Raises:
        InputError: gradio is not installed.
    """
    gradio = _gradio()
    bundle = predictor.bundle
    conformal = predictor.conformal or {}
    fitted_on = bundle.calibration["fitted_on"]
    how = "not calibrated" if fitted_on == UNCALIBRATED else f"calibrated on {fitted_on}"

    def classify(paths: list[str] | None) -> str:
        paths = paths or []
        try:
            if len(paths) > MOST_FILES:
                raise gradio.Error(f"{len(paths)} images; at most {MOST_FILES} at a time")
            return to_html([answer(predictor, path, explainer) for path in paths], conformal.get("coverage"))
        finally:
            for path in paths:
                with contextlib.suppress(OSError):
                    os.unlink(path)

    card = Path(bundle.where, CARD_FILE)
    with gradio.Blocks(analytics_enabled=False, title=f"{bundle.method}: classify images") as page:
        gradio.Markdown(f"# Classify images with {bundle.method} on {bundle.backbone}\n\n**{WARNING}**")
        gradio.Markdown(f"Probabilities are {how}. Images stay on this computer, and nothing is kept.")
        files = gradio.File(file_count="multiple", label="Drop images here", elem_id="files")
        results = gradio.HTML(elem_id="results")
        files.upload(classify, files, results, api_name=False)
        files.clear(lambda: "", None, results, api_name=False)
        with gradio.Accordion("Model card", open=False):
            text = card.read_text(encoding="utf-8") if card.is_file() else "This bundle has no card."
            gradio.Markdown(_without_metadata(text))
    return page


@contextlib.contextmanager
def served(predictor: Predictor, explainer: str = "auto", port: int | None = None) -> Iterator[str]:
    """Serve the page on this computer while the context is open; gives its address.

    Uploads are stored in a temporary folder, deleted after their classification, and the folder at the end.

    Raises:
        InputError: gradio is not installed, or the port is in use.
    """
    gradio = _gradio()
    with tempfile.TemporaryDirectory(prefix="biomed-dpt-page-") as folder, _environment(GRADIO_TEMP_DIR=folder):
        page = build_page(predictor, explainer)  # its parts read the folder from the environment
        try:
            _, address, _ = page.launch(
                server_name=ADDRESS,
                server_port=port,
                share=False,
                prevent_thread_lock=True,
                quiet=True,
                theme=gradio.themes.Base(font=FONTS, font_mono=("monospace",)),  # other fonts come from the internet
                css=STYLE,
                max_file_size=LARGEST_FILE,
                footer_links=[],
                run_history=False,
                enable_monitoring=False,
                ssr_mode=False,
                mcp_server=False,
            )
        except OSError as error:
            raise InputError(f"the page cannot be served on port {port} ({error}); choose another --port") from error
        try:
            yield address
        finally:
            page.close(verbose=False)


@contextlib.contextmanager
def _environment(**values: str) -> Iterator[None]:
    """Set environment variables while the context is open."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _without_metadata(card: str) -> str:
    """A model card without the metadata at its top."""
    return card.split("---\n", 2)[-1] if card.startswith("---\n") else card


def _gradio() -> Any:
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    try:
        import gradio
    except ImportError as error:
        raise InputError("the page needs gradio: pip install -r requirements-app.txt") from error
    return gradio
