"""Other installed packages named as this project's: Hugging Face `datasets` and OpenAI `clip`."""

import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent

TRIES = """
import sys
for place, name in ({places}):
    sys.path.insert(0, place)
    try:
        import biomed_dpt
    except ImportError as error:
        print(type(error).__name__, error)
    sys.path.remove(place)
import json as datasets
sys.modules["datasets"] = datasets
try:
    import biomed_dpt
except ImportError as error:
    print(type(error).__name__, error)
del sys.modules["datasets"]
import biomed_dpt
print(sorted({{"torch", "datasets", "clip"}} & sys.modules.keys()))
"""


def test_a_package_that_hides_one_of_this_project_is_named(tmp_path):
    (tmp_path / "a" / "datasets").mkdir(parents=True)
    (tmp_path / "a" / "datasets" / "__init__.py").write_text("raise RuntimeError('is imported')")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "clip.py").touch()
    places = [(str(tmp_path / "a"), "datasets"), (str(tmp_path / "b"), "clip")]
    code = f"import sys; sys.path.insert(0, {str(PROJECT)!r})" + TRIES.format(places=", ".join(map(str, places)))
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    hidden = "hides this project's; use an environment of its own for this project (docs/PYTHON.md)"
    first, second, third, last = done.stdout.splitlines()
    assert first == f"HiddenPackageError the package 'datasets' at '{tmp_path}/a/datasets' {hidden}"
    assert second == f"HiddenPackageError the package 'clip' at '{tmp_path}/b/clip.py' {hidden}"
    assert "HiddenPackageError the package 'datasets' at" in third
    assert last == "[]"
