"""Registered classes are found without a list of them, and without importing them."""

import subprocess
import sys
from pathlib import Path

import pytest

import clip
from dassl.data.datasets import DATASET_REGISTRY
from dassl.discovery import declarations, declared_names, import_modules
from datasets.folder import FolderDataset

PROJECT = Path(__file__).resolve().parent.parent
SOURCE = """
@REGISTRY.register()
class Second: ...

@register_method
class Third:
    text, number = "not a single name", 1
    learns: str = "context"
    tokens = (4, 8)
    size = len(learns)
    unset: int

@REGISTRY.register(name="Other-Name")
class Fourth: ...

@REGISTRY.forget()
class Unregistered: ...
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "b.py").write_text(SOURCE)
    (tmp_path / "a.py").write_text(
        "import a_module_that_does_not_exist\n\n@REGISTRY.register(force=True)\nclass First: ..."
    )
    (tmp_path / "__init__.py").write_text("@REGISTRY.register()\nclass Skipped: ...")
    return tmp_path


def test_names_are_found_by_decorator_in_file_order(folder):
    found = declared_names(folder, {"REGISTRY.register", "register_method"})
    assert list(found.items()) == [("First", "a"), ("Second", "b"), ("Third", "b"), ("Other-Name", "b")]
    assert declared_names(folder, {"register_method"}) == {"Third": "b"}


def test_declarations_hold_the_literal_attributes(folder):
    found = declarations(folder, {"REGISTRY.register", "register_method"})
    assert found["Third"].constants == {"learns": "context", "tokens": (4, 8)}
    assert found["Other-Name"].class_name == "Fourth"


def test_modules_of_a_package_are_imported(tmp_path, monkeypatch):
    package = tmp_path / "some_package"
    package.mkdir()
    (package / "__init__.py").write_text(
        "from dassl.discovery import import_modules\nimport_modules(__name__, {'mark'})"
    )
    (package / "marked.py").write_text("mark = lambda cls: cls\n@mark\nclass Marked: ...")
    (package / "plain.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    import_modules("some_package", {"mark"})
    assert "some_package.marked" in sys.modules
    assert "some_package.plain" not in sys.modules
    import_modules("some_package")
    assert "some_package.plain" in sys.modules


def registered(registry, package):
    classes = {name: registry.get(name) for name in registry.registered_names()}
    return {name: cls.__module__ for name, cls in classes.items() if cls.__module__.startswith(f"{package}.")}


@pytest.mark.parametrize(
    ("package", "registry", "decorator"),
    [
        ("clip", clip.BACKBONE_REGISTRY, "BACKBONE_REGISTRY.register"),
        ("datasets", DATASET_REGISTRY, "DATASET_REGISTRY.register"),
    ],
)
def test_declared_names_are_the_registered_names(package, registry, decorator):
    found = declared_names(PROJECT / package, {decorator})
    assert {name: f"{package}.{module}" for name, module in found.items()} == registered(registry, package)


def test_declarations_name_the_papers_datasets():
    found = declarations(PROJECT / "datasets", {"DATASET_REGISTRY.register"})
    paper = {name for name, declaration in found.items() if declaration.constants.get("in_paper")}
    assert len(paper) == 11
    classes = {name: DATASET_REGISTRY.get(name) for name in found}
    assert paper == {name for name, cls in classes.items() if issubclass(cls, FolderDataset) and cls.in_paper}
    assert all(classes[name].drive_id for name in paper)


def test_backbone_classes_are_attributes_of_the_package():
    assert clip.BiomedCLIP is clip.BACKBONE_REGISTRY.get("BiomedCLIP")
    assert clip.PMCCLIP is clip.BACKBONE_REGISTRY.get("PMC-CLIP")
    with pytest.raises(AttributeError, match="has no attribute 'NoSuchBackbone'"):
        _ = clip.NoSuchBackbone


def test_names_are_listed_without_torch():
    code = (
        "import sys; from pathlib import Path; from dassl.discovery import declared_names; "
        "print(len(declared_names(Path('clip'), {'BACKBONE_REGISTRY.register'})), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(len(clip.BACKBONE_REGISTRY.registered_names())), "False"]
