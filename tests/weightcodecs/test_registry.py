"""Names lead to codecs: ours, registered ones, and those of packages that are really installed."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
from configurations import BROUGHT

import weightcodecs
from weightcodecs import ConfigError, MissingExtraError, UnknownNameError, errors, registry

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples/third_party_codec"


def run(code: str, *paths: Path) -> str:
    """Run Python with more places to import from; return what it prints."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))}
    ran = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


@pytest.mark.parametrize(
    ("typed", "nearest"),
    [
        ("zstdd", "zstd"),
        ("Elf", "elf"),
        ("BROTLI", "brotli"),
        ("l4", "lz4"),
        ("identiy", "identity"),
        ("zlb", "zlib"),
    ],
)
def test_nearest_names(typed: str, nearest: str) -> None:
    with pytest.raises(UnknownNameError, match=f"did you mean .*'{nearest}'") as raised:
        weightcodecs.get_codec(typed)
    assert raised.value.nearest[0] == nearest
    assert raised.value.name == typed


def test_a_name_like_no_other_lists_all() -> None:
    with pytest.raises(UnknownNameError, match=r"known: .*elf.*zstd"):
        weightcodecs.get_codec("qqqqqq")
    with pytest.raises(UnknownNameError, match="bfloat16"):
        weightcodecs.get_format("bfloat61")


@pytest.mark.parametrize(
    ("name", "config", "message"),
    [
        ("zstd", {"levle": 3}, "did you mean 'level'"),
        ("identity", {"level": 3}, "it has: none"),
        ("zstd", {"level": "3"}, "level must be a whole number, not '3'"),
        ("zstd", {"level": 3.0}, "whole number"),
        ("zstd", {"level": True}, "whole number"),
        ("zstd", {"level": 23}, "from -100 to 22"),
        ("lz4", {"level": 13}, "from 0 to 12"),
        ("lz4", {"acceleration": 0}, "acceleration"),
        ("brotli", {"quality": 12}, "quality"),
        ("brotli", {"window": 9}, "window"),
        ("zlib", {"level": 0}, "from 1 to 9"),
        ("xz", {"preset": 10}, "from 0 to 9"),
        ("cast", {"to": "bfloat61"}, "did you mean 'bfloat16'"),
        ("cast", {"to": "int8"}, "float format"),
        ("elf", {"variant": "papr"}, "'fast' or 'paper'"),
        ("elf", {"widen_bfloat16": 1}, "true or false"),
    ],
)
def test_wrong_options(name: str, config: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        weightcodecs.get_codec(name, **config)


@pytest.mark.parametrize(
    "error",
    [
        UnknownNameError("codec", "elff", ["elf", "zstd"]),
        MissingExtraError("zipnn", "baselines"),
        errors.CorruptBlobError("cut short"),
        ConfigError("no"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_travel(error: Exception) -> None:
    """Errors cross process boundaries on their way to a row."""
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is type(error)
    assert str(back) == str(error)
    assert back.__dict__ == error.__dict__


def test_registering() -> None:
    @dataclass(frozen=True)
    class Twin(weightcodecs.get_codec("identity").__class__):  # type: ignore[misc]
        name: ClassVar[str] = "twin_of_identity"

    try:
        assert weightcodecs.register_codec(Twin) is Twin
        assert weightcodecs.register_codec(Twin) is Twin, "again is no harm"
        assert "twin_of_identity" in weightcodecs.list_codecs()
        assert weightcodecs.get_codec("twin_of_identity") == Twin()
    finally:
        registry._registered.pop("twin_of_identity", None)

    class Thief(Twin):
        name: ClassVar[str] = "zstd"

    with pytest.raises(ConfigError, match="already"):
        weightcodecs.register_codec(Thief)


def test_import_is_light() -> None:
    """Asking for names imports no library that only one codec needs, and no harness."""
    heavy = [
        "brotli",
        "lz4",
        "zstandard",
        "numba",
        "scipy",
        "torch",
        "hydra",
        "omegaconf",
        "weightbench",
        "pandas",
    ]
    code = (
        "import sys, weightcodecs; weightcodecs.list_codecs(); weightcodecs.get_format('float32');"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    assert run(code) == "[]"
    code = code.replace("get_format('float32')", "get_codec('zstd')")
    assert run(code) == "['zstandard']"


# -- a package of somebody else's ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example package, installed as its README says but into a folder of its own."""
    pytest.importorskip("hatchling", reason="builds the example package; in the extra 'test'")
    target, source = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("source")
    for path in sorted(EXAMPLE.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            copy = source / path.relative_to(EXAMPLE)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index"]
    pip += ["--no-deps", "--no-build-isolation", "--target", str(target), str(source)]
    ran = subprocess.run(pip, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return target


def test_installed_package_is_found(installed: Path) -> None:
    code = (
        "import sys, weightcodecs; names = weightcodecs.list_codecs();"
        "assert 'bfloat_parts' not in sys.modules, 'listing imports nothing';"
        "print('bfloat_parts' in names, weightcodecs.get_codec('bfloat_parts', level=3))"
    )
    assert run(code, installed) == "True BfloatParts(level=3)"
    assert "bfloat_parts" not in weightcodecs.list_codecs() or "bfloat_parts" not in BROUGHT


def test_installed_package_brings_its_configuration(installed: Path) -> None:
    import yaml

    code = "from weightcodecs.registry import configuration_packages as p; print('bfloat_parts' in p())"
    assert run(code, installed) == "True"
    config = yaml.safe_load((installed / "bfloat_parts/conf/codec/bfloat_parts.yaml").read_text())
    code = f"import weightcodecs as w; c = w.get_codec(**{config!r}); print({{'name': c.name, **c.config()}})"
    assert run(code, installed) == str(config)


def test_installed_package_keeps_the_laws(installed: Path) -> None:
    """The law suite and the fuzzer take a codec from outside with one line in configurations.py."""
    env = {**os.environ, "PYTHONPATH": str(installed)}
    laws = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "bfloat_parts", "-rN"]
    ran = subprocess.run(
        [*laws, str(ROOT / "tests/weightcodecs/test_laws.py")],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-3000:]
    assert " passed" in ran.stdout
    fuzz = [
        sys.executable,
        str(ROOT / "tests/weightcodecs/fuzz.py"),
        "--codec",
        "bfloat_parts",
        "--mutations",
        "500",
    ]
    ran = subprocess.run(fuzz, env=env, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def entry_point(folder: Path, name: str, value: str, module: str = "") -> None:
    """Install the least that Python takes for a package with an entry point."""
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[weightcodecs.codecs]\n{name} = {value}\n")
    if module:
        (folder / f"{name}.py").write_text(module)


def test_broken_packages_break_nothing_else(tmp_path: Path) -> None:
    entry_point(tmp_path, "broken_import", "broken_import:Codec", "raise RuntimeError('no such luck')")
    entry_point(tmp_path, "broken_syntax", "broken_syntax:Codec", "def (")
    entry_point(tmp_path, "broken_module", "nowhere_to_be_found:Codec")
    entry_point(tmp_path, "broken_attribute", "broken_attribute:Codec", "x = 1")
    entry_point(tmp_path, "broken_class", "broken_class:Codec", "class Codec: name = 'broken_class'")
    entry_point(
        tmp_path, "broken_name", "broken_name:Codec", "from weightcodecs.identity import Identity as Codec"
    )
    entry_point(tmp_path, "zstd", "broken_import:Codec")
    code = """
import numpy as np, weightcodecs
from weightcodecs import ConfigError, CorruptBlobError
names = weightcodecs.list_codecs()
assert type(weightcodecs.get_codec("zstd")).__name__ == "Zstd", "ours cannot be replaced"
blob = weightcodecs.get_codec("zstd").encode(np.zeros(100))
assert weightcodecs.decode(blob).sum() == 0
for name in [name for name in names if name.startswith("broken")]:
    try:
        weightcodecs.get_codec(name)
    except ConfigError as error:
        assert name in str(error)
        print(name)
"""
    printed = run(code, tmp_path).splitlines()
    kinds = ("attribute", "class", "import", "module", "name", "syntax")
    assert printed == [f"broken_{kind}" for kind in kinds]
