"""Names that are read from the declarations without torch, and what is listed for one method."""

import subprocess
import sys

import pytest

from clip import BACKBONE_REGISTRY
from configs import (
    Choice,
    backbone_names,
    build_cfg,
    dataset_names,
    is_path,
    method_names,
    paper_datasets,
    untrained_methods,
)
from configs.listing import method_page
from dassl.engine import TRAINER_REGISTRY
from dassl.errors import InputError
from tests.conftest import PROJECT
from tests.registered import DATASETS, METHODS


def test_names_are_those_of_the_registries():
    assert list(method_names()) == sorted(METHODS)
    registered = [BACKBONE_REGISTRY.get(name) for name in BACKBONE_REGISTRY.registered_names()]
    assert len(backbone_names()) == sum(cls.__module__.startswith("clip.") for cls in registered)
    assert set(backbone_names()) <= set(BACKBONE_REGISTRY.registered_names())
    assert {build_cfg(Choice("ZeroShot", dataset=name)).DATASET.NAME for name in dataset_names()} == {
        cls.__name__ for cls in DATASETS
    }


def test_data_sets_of_the_paper():
    flagged = {cls.__name__ for cls in DATASETS if cls.in_paper}
    assert {build_cfg(Choice("ZeroShot", dataset=name)).DATASET.NAME for name in paper_datasets()} == flagged
    assert len(paper_datasets()) == len(flagged) == 11
    assert "phantom" not in paper_datasets()


def test_names_need_no_torch():
    names = "configs.method_names(), configs.backbone_names(), configs.dataset_names(), configs.paper_datasets()"
    code = f"import sys, configs; print([len(names) > 1 for names in ({names})], 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[True, True, True, True] False"


def test_untrained_methods():
    assert untrained_methods() == {"ZeroShot", "ZeroShotEnsemble"}


@pytest.mark.parametrize("path", ["my.yaml", "my.yml", "folder/mine", "./busi.yaml"])
def test_what_looks_like_a_path_is_one(path):
    assert is_path(path)
    assert not is_path("busi")


def test_the_page_of_a_method():
    page = method_page("BiomedDPT")
    first = TRAINER_REGISTRY.get("BiomedDPT").__doc__.strip().splitlines()[0]
    assert page.startswith(f"BiomedDPT\n\n{first}")
    rows = [[part.strip() for part in line.split("|")] for line in page.splitlines()]
    assert any(row[1:3] == ["L1_LAMBDA", "float"] for row in rows)
    assert (PROJECT / "configs" / "trainers" / "BiomedDPT.yaml").read_text().rstrip() in page
    with pytest.raises(InputError, match=r"unknown trainer 'BiomedDP'\. Did you mean 'BiomedDPT'"):
        method_page("BiomedDP")
