"""Texts: where a context starts, templates, sentences and class names that cannot be used, and where prompts lie."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from configs import Choice, build_cfg
from dassl.errors import InputError
from prompts import filled, load_prompts, template_problem
from prompts.loader import FOLDER
from runs.contents import Contents
from runs.folder import CONFIG_FILE
from runs.settings import Settings, refuse_other_settings
from trainers import checkpoint
from trainers.biomeddpt import BiomedDPT
from trainers.coop import CoOp
from trainers.settings import VERSION

EARLIER = Path(__file__).parent / "data" / "earlier_run"


def context_settings(method, **settings):
    return [word for key, value in settings.items() for word in (f"TRAINER.{method.upper()}.{key}", value)]


@pytest.mark.parametrize("method", ["BiomedDPT", "CoOp"])
def test_an_official_command_line_for_random_contexts_of_each_class(build, tiny, method):
    """The words of the official scripts for random values: CTX_INIT "", N_CTX 4, CSC True."""
    opts = context_settings(method, N_CTX=4, CSC=True, CLASS_TOKEN_POSITION="end", CTX_INIT="")
    context = build(method, opts=opts).method.context
    values = context.ctx.detach()
    assert values.shape == (8, 4, tiny.text_width)
    assert abs(values.mean()) < 4 * 0.02 / values.numel() ** 0.5
    assert values.std().item() == pytest.approx(0.02, rel=0.05)
    assert all(not torch.equal(values[0], other) for other in values[1:])
    assert context.prefix == {"BiomedDPT": "a phantom scan of a", "CoOp": "X X X X"}[method]


@pytest.mark.parametrize("method", ["BiomedDPT", "CoOp"])
def test_a_context_starts_from_the_template(build, tiny, method):
    opts = context_settings(method, CTX_INIT="template", N_CTX=0)
    context = build(method, opts=opts).method.context
    tokens = tiny.tokenize(["a phantom scan of a"])
    expected = tiny.embed_tokens(tokens.ids)[0, 1:-1]
    assert torch.equal(context.ctx.detach(), expected)


def test_without_a_word_biomed_dpt_starts_from_the_template_and_coop_from_its_words(build):
    assert BiomedDPT.Config().CTX_INIT == "template"
    assert CoOp.Config().CTX_INIT == "a photo of a"
    assert CoOp.Config(CTX_INIT="a_photo_of_a").words == "a photo of a"


def test_more_random_tokens_than_the_template_has_words_replace_all_of_them(build):
    opts = context_settings("BiomedDPT", CTX_INIT="", N_CTX=7)
    assert build("BiomedDPT", opts=opts).method.context.prefix == "X X X X X X X"


def test_earlier_checkpoints_say_template_where_they_say_nothing(capsys):
    earlier = {"settings": {"CTX_INIT": "", "N_CTX": 0}}
    checkpoint.compare(earlier, [], BiomedDPT.Config(), False)
    assert capsys.readouterr().out == ""
    checkpoint.compare(earlier, [], BiomedDPT.Config(CTX_INIT=""), False)
    assert "trained with CTX_INIT template, tested with CTX_INIT " in capsys.readouterr().out
    checkpoint.compare(earlier, [], CoOp.Config(CTX_INIT="", N_CTX=0), False)
    assert capsys.readouterr().out == ""
    today = checkpoint.settings_of(BiomedDPT.Config(CTX_INIT=""))
    assert today["settings_version"] == VERSION
    today["settings"] = json.loads(today["settings"])
    checkpoint.compare(today, [], BiomedDPT.Config(), False)
    assert "tested with CTX_INIT template" in capsys.readouterr().out


def test_earlier_configurations_say_template_where_they_say_nothing(tmp_path):
    folder = tmp_path / "seed1"
    shutil.copytree(EARLIER, folder)

    def check(*opts):
        opts = ["OPTIM.MAX_EPOCH", "2", *opts]
        cfg = build_cfg(Choice("BiomedDPT", shots=1, root=str(tmp_path), opts=opts))
        refuse_other_settings(Settings.of(cfg), Contents(cfg), folder)

    check()
    with pytest.raises(InputError, match=r'-TRAINER\.BIOMEDDPT\.CTX_INIT: "template"\n.*CTX_INIT: ""$'):
        check("TRAINER.BIOMEDDPT.CTX_INIT", "")
    path = folder / CONFIG_FILE
    path.write_text(path.read_text().replace("INPUT:\n", "INPUT:\n  DEPTH: rescale\n"))
    with pytest.raises(InputError, match=r'-TRAINER\.BIOMEDDPT\.CTX_INIT: ""\n.*CTX_INIT: "template"$'):
        check()


@pytest.mark.parametrize("template", ["a {x}", "a photo", "", "{} {}", "{} {", "{}}", "{{}} {}", "{0}"])
def test_templates_that_cannot_be_filled(template):
    assert template_problem(template).startswith("hold ")


def test_a_class_name_is_put_in_as_it_is():
    assert template_problem("a {} in the brain.") == ""
    assert filled("a {} in the brain.", "{x} {} \\1") == "a {x} {} \\1 in the brain."


GOOD = {"template": "a {}", "classes": {"cat": ["A cat."]}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (json.dumps({**GOOD, "template": "a {x} {}"}), "'template' is 'a {x} {}'; it must hold no braces but {}"),
        (json.dumps({**GOOD, "template": ["a {}"]}), "it must be a text"),
        (json.dumps({**GOOD, "template": "a {} \ud800"}), "'template' is no text in UTF-8"),
        (json.dumps({**GOOD, "classes": {"cat": ["A \udfff."]}}), "is no text in UTF-8"),
        (json.dumps({**GOOD, "classes": {"": ["A cat."]}}), "of class '' is empty"),
        (json.dumps({**GOOD, "classes": {"cat": "A cat."}}), "class 'cat' must have a list"),
        (json.dumps({**GOOD, "classes": {"cat": [float("nan")]}}), "class 'cat' must have a list"),
        (json.dumps({**GOOD, "classes": [1]}), "'classes' must map each class name"),
        ('{"template": "a {}", "template": "b {}", "classes": {}}', "the key 'template' stands in it more than once"),
        ("[" * 100_000, "cannot be read as JSON"),
        ("9" * 5000, "cannot be read as JSON"),
        (json.dumps(GOOD).encode("utf-16"), "cannot be read as JSON"),
        (b"\xff", "cannot be read as JSON"),
        ("null", "must be an object with the keys"),
    ],
)
def test_prompt_files_that_cannot_be_used(tmp_path, content, message):
    path = tmp_path / "own.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError) as caught:
        load_prompts(str(path))
    assert message in str(caught.value)
    assert f"prompt file '{path}'" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_a_mark_of_the_byte_order_is_accepted(tmp_path):
    (tmp_path / "own.json").write_bytes(json.dumps(GOOD).encode("utf-8-sig"))
    assert load_prompts(str(tmp_path / "own.json")).template == "a {}"


def test_prompt_files_are_looked_for_beside_the_file_that_names_them(tmp_path, monkeypatch):
    folder, elsewhere = tmp_path / "mine", tmp_path / "elsewhere"
    for path in (folder, elsewhere):
        path.mkdir()
    for name in ("thyroid", "btmri"):
        (folder / f"{name}.json").write_text(json.dumps(GOOD))
    monkeypatch.chdir(elsewhere)

    def found(name):
        (folder / "own.yaml").write_text(f"DATASET: {{NAME: Folder, PROMPTS: {name}}}\n")
        cfg = build_cfg(Choice("CoOp", dataset=str(folder / "own.yaml")))
        return load_prompts(cfg.DATASET.PROMPTS).source

    assert found("thyroid.json") == found("thyroid") == folder / "thyroid.json"
    assert found("btmri") == folder / "btmri.json"
    assert found("busi") == found("busi.json") == FOLDER / "busi.json"
    assert found(str(folder / "thyroid.json")) == folder / "thyroid.json"
    (elsewhere / "here.json").write_text(json.dumps(GOOD))
    assert found("here.json") == Path("here.json")
    with pytest.raises(InputError, match=r"prompt file 'none\.json' does not exist"):
        found("none.json")


def test_a_run_may_name_its_prompts_by_another_path(tmp_path):
    def settings(path):
        opts = ["DATASET.NAME", "Folder", "DATASET.PROMPTS", path]
        return Settings.of(build_cfg(Choice("CoOp", root=str(tmp_path), opts=opts)))

    assert settings("/a/own.json").digest == settings("own.json").digest != settings("other.json").digest


def test_too_many_sentences_are_asked_for_by_the_full_key(build):
    with pytest.raises(InputError, match=r"51 were asked for.*or set TRAINER\.BIOMEDDPT\.N_PROMPTS to 50 or less"):
        build("BiomedDPT", opts=context_settings("BiomedDPT", N_PROMPTS=51))


def test_sentences_beyond_the_context_are_named(build, capsys):
    method = build("ZeroShot").method
    assert "warning" not in capsys.readouterr().out
    long = "a photo of a {} " + "with a scan of a cyst " * 60
    method.template_features(long, ["cyst", "mass"])
    printed = capsys.readouterr().out
    assert "warning: 2 of 2 sentences fill the 128 tokens that Tiny reads, and are cut there: 'a photo of" in printed
    assert printed.count("\n") == 1


@pytest.mark.parametrize(("name", "message"), [("\ud800", "no text in UTF-8"), ("", "is empty"), (" ", "is empty")])
def test_class_names_that_no_tokeniser_reads(build, name, message):
    method = build("ZeroShot").method
    with pytest.raises(InputError, match=message):
        method.set_classes(["cyst", name])


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (124, r"the prompt of class '.*' has 1\d\d tokens, the backbone takes 128"),
        (200, "N_CTX is 200, but the prompt"),
    ],
)
def test_a_prompt_beyond_the_context_is_refused(build, tokens, message):
    with pytest.raises(InputError, match=message):
        build("CoOp", opts=context_settings("CoOp", CTX_INIT="", N_CTX=tokens))


def test_folders_whose_names_are_no_utf_8(command, phantom_root, tmp_path):
    root = tmp_path / "data \udcff"
    try:
        root.symlink_to(phantom_root)
    except (OSError, UnicodeError):
        pytest.skip("the file system takes names in UTF-8 only")
    words = ["--trainer", "CoOp", "--shots", 1, "OPTIM.MAX_EPOCH", 1]
    for said in ("results in", "complete already"):
        code, printed = command(*words, root=root, out="run \udcff")
        assert code == 0
        assert said in printed.out
        assert "run \\udcff" in printed.out
