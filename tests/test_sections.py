"""The files in configs/: sections of methods, their order, what is repeated, and what is refused."""

from pathlib import Path

import pytest

from configs import Choice, build_cfg, dataset_names, method_names
from configs.default import default_cfg
from configs.layers import file_layer, merge, method_layers, section_names, sections_of
from configs.names import DATASET_FILES, PROTOCOLS
from dassl.errors import InputError

CONFIGS = DATASET_FILES.parent


def test_every_method_has_one_file():
    assert sorted(path.stem for path in (CONFIGS / "trainers").iterdir()) == list(method_names())


def repeated(cfg, layer):
    """The keys whose values a layer repeats; the layer is merged into the configuration."""
    before, after = cfg.clone(), cfg
    merge(after, layer)
    return {key for key in layer.values if value_of(before, key) == value_of(after, key)}


def value_of(cfg, key):
    for part in key.split("."):
        cfg = cfg[part]
    return cfg


@pytest.mark.parametrize("method", method_names())
def test_no_section_repeats_what_it_inherits(method):
    """A pair is redundant where it changes nothing in any run that the section applies to."""
    redundant = {}
    shots = {int(name.split("/K")[1].split("/")[0]) for name in names_of(method) if "/K" in name} or {16}
    for protocol in PROTOCOLS:
        for dataset in dataset_names():
            for count in shots:
                cfg = default_cfg()
                for path in (DATASET_FILES / f"{dataset}.yaml", CONFIGS / "defaults.yaml"):
                    assert repeated(cfg, file_layer(path)) == set(), path
                for layer in method_layers(method, [*section_names(protocol, dataset, count), "published"]):
                    redundant.setdefault(layer.where, set(layer.values)).intersection_update(repeated(cfg, layer))
    assert {where: keys for where, keys in redundant.items() if keys} == {}


def names_of(method):
    return [layer.where.split("'")[-2] for layer in sections_of(method)]


def test_few_lines_are_repeated():
    lines = [line.strip() for path in CONFIGS.rglob("*.yaml") for line in path.read_text().splitlines()]
    lines = [line for line in lines if line]
    assert 1 - len(set(lines)) / len(lines) < 0.15


@pytest.fixture
def method_file(tmp_path, monkeypatch):
    """Writes the file of CoOp anew."""
    monkeypatch.setattr("configs.names.METHOD_FILES", tmp_path)

    def _write(text):
        (tmp_path / "CoOp.yaml").write_text(text)
        return tmp_path / "CoOp.yaml"

    return _write


def test_specific_sections_override_general_ones(method_file):
    names = ["common", "few_shot", "few_shot/K4", "busi", "few_shot/busi", "few_shot/K4/busi", "published"]
    assert section_names("few_shot", "busi", 4) == names[:-1]
    text = "".join(f"{name}: {{OPTIM.MAX_EPOCH: {k + 1}, N_CTX: {k + 1}}}\n" for k, name in enumerate(names))
    method_file("".join(reversed(text.splitlines(keepends=True))))  # the order in the file plays no part

    def epochs(dataset="btmri", **words):
        cfg = build_cfg(Choice("CoOp", dataset=dataset, **words))
        assert cfg.TRAINER.COOP.N_CTX == cfg.OPTIM.MAX_EPOCH
        return cfg.OPTIM.MAX_EPOCH

    assert epochs(protocol="base2new") == 1
    assert epochs(shots=2) == 2
    assert epochs(shots=4) == 3
    assert epochs("busi", protocol="base2new", shots=4) == 4
    assert epochs("busi", shots=2) == 5
    assert epochs("busi", shots=4) == 6
    assert epochs("busi", shots=4, published=True) == 7
    pairs = ["OPTIM.MAX_EPOCH", "9", "TRAINER.COOP.N_CTX", "9"]
    assert epochs("busi", shots=4, published=True, opts=pairs) == 9


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("few_shoot: {OPTIM.LR: 0.1}", "unknown section 'few_shoot'. Did you mean 'few_shot'"),
        ("few_shot/busy: {OPTIM.LR: 0.1}", "section 'few_shot/busy': unknown dataset 'busy'. Did you mean 'busi'"),
        ("few_shot/K4/bus: {OPTIM.LR: 0.1}", "unknown dataset 'bus'. Did you mean 'busi'"),
        ("few_shot/: {OPTIM.LR: 0.1}", "unknown section 'few_shot/'"),
        ("busi/few_shot: {OPTIM.LR: 0.1}", "unknown section 'busi/few_shot'"),
        ("common: {N_CTY: 4}", "section 'common': unknown configuration key 'TRAINER.COOP.N_CTY'. Did you mean"),
        ("base2new/busi: {OPTIM.LRR: 1.0}", "'base2new/busi': unknown configuration key 'OPTIM.LRR'. Did you mean"),
        ("base2new: {OPTIM.LR: high}", "section 'base2new': OPTIM.LR is 'high'; it must be of type float"),
        ("published: {N_CTX: 4.5}", "'published': TRAINER.COOP.N_CTX is 4.5; it must be of type int"),
        ("common: {OPTIM.LR: }", "section 'common': OPTIM.LR has no value"),
        ("common: {DATALOADER.TEST: 3, DATALOADER.TEST.BATCH_SIZE: 3}", "DATALOADER.TEST is not a setting; its"),
        ("common: 3", "section 'common' must hold KEY: VALUE pairs"),
        ("- common", "must hold KEY: VALUE lines"),
        ("common: {OPTIM.LR: [}", "while parsing"),
        ("common: {OPTIM.STAGED_LR: true}", "OPTIM.STAGED_LR has no effect: CoOp on the data set Phantom"),
        ("common: {DATASET.NUM_SHOTS: 2}", "DATASET.NUM_SHOTS has no effect in a file: the command line sets it"),
    ],
)  # fmt: skip
def test_a_file_that_does_not_fit_is_refused_with_file_and_section(method_file, text, message):
    path = method_file(text)
    with pytest.raises(InputError) as caught:
        build_cfg(Choice("CoOp"))
    assert str(path) in str(caught.value)
    assert message in str(caught.value)


def test_a_method_without_a_file_says_which_one_to_write(method_file):
    with pytest.raises(InputError, match=r"BiomedDPT has no configuration: write '.*BiomedDPT.yaml'"):
        build_cfg(Choice("BiomedDPT"))
    assert method_file("").is_file()
    assert build_cfg(Choice("CoOp")).OPTIM.NAME == "sgd"


def test_a_data_set_may_be_a_file(tmp_path):
    (tmp_path / "thyroid.yaml").write_text("DATASET: {NAME: Folder, FOLDER: Thyroid}\nDATASET.CLASSES: [a, b]\n")
    path = str(tmp_path / "thyroid.yaml")
    for choice in (Choice("BiomedDPT", dataset=path), Choice("BiomedDPT", dataset_config_file=path)):
        assert choice.dataset == "thyroid"
        cfg = build_cfg(choice)
        assert (cfg.DATASET.NAME, cfg.DATASET.FOLDER, cfg.DATASET.CLASSES) == ("Folder", "Thyroid", ("a", "b"))
        assert (cfg.OPTIM.LR, cfg.TRAINER.BIOMEDDPT.L1_LAMBDA) == (0.0025, 12.5)
    with pytest.raises(InputError, match=r"none\.yaml' does not exist"):
        build_cfg(Choice("CoOp", dataset="none.yaml"))


def test_a_file_named_like_a_data_set_gets_its_sections(tmp_path):
    (tmp_path / "busi.yaml").write_text("DATASET.NAME: BUSI\n")
    cfg = build_cfg(Choice("BiomedDPT", dataset=f"{tmp_path}/busi.yaml"))
    assert cfg.TRAINER.BIOMEDDPT.L1_LAMBDA == 18.75


def test_a_whole_file_replaces_the_method_but_for_published(tmp_path):
    (tmp_path / "coop.yaml").write_text("OPTIM:\n  NAME: sgd\n  LR: 0.5\n")
    words = {"dataset": "busi", "config_file": str(tmp_path / "coop.yaml")}
    cfg = build_cfg(Choice("BiomedDPT", **words))
    assert (cfg.OPTIM.LR, cfg.OPTIM.MAX_EPOCH, cfg.INPUT.INTERPOLATION) == (0.5, 10, "bilinear")
    assert cfg.TRAINER.BIOMEDDPT.L1_LAMBDA == 12.5
    assert build_cfg(Choice("BiomedDPT", published=True, **words)).TRAINER.BIOMEDDPT.TEXT_DROPOUT


def test_an_integer_is_accepted_for_a_float_and_not_the_other_way_round(method_file):
    method_file("common: {OPTIM.LR: 1}")
    cfg = build_cfg(Choice("CoOp", opts=["OPTIM.WEIGHT_DECAY", "2"]))
    assert [(type(value), value) for value in (cfg.OPTIM.LR, cfg.OPTIM.WEIGHT_DECAY)] == [(float, 1.0), (float, 2.0)]
    with pytest.raises(InputError, match=r"TRAINER\.COOP\.N_CTX is 4\.5; it must be of type int"):
        build_cfg(Choice("CoOp", opts=["TRAINER.COOP.N_CTX", "4.5"]))


def test_files_are_read_as_text_in_utf8(method_file):
    Path(method_file("")).write_bytes(b"# \xff\ncommon: {}\n")
    with pytest.raises(InputError, match="cannot be read"):
        build_cfg(Choice("CoOp"))
