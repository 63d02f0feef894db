from __future__ import annotations

import errno
import resource
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from weightbench.archive import ArchiveError, open_archive, write_archive
from weightbench.granularity import Granularity
from weightbench.models import SyntheticSource, open_model
from weightcodecs import get_codec

SOURCE = SyntheticSource(shapes=[[256, 256]] * 40, dtype="bfloat16")


def hidden(folder):
    return [path for path in folder.iterdir() if path.name.endswith(".tmp")]


def test_an_error_leaves_the_old_archive(model, tmp_path):
    folder = tmp_path / "archives"
    folder.mkdir()
    path = folder / "a"
    write_archive(path, model, get_codec("zstd"), Granularity())
    before = path.read_bytes()

    def interrupt(done, total):
        if done > total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_archive(path, model, get_codec("lz4"), Granularity(), progress=interrupt)
    assert path.read_bytes() == before
    assert list(folder.iterdir()) == [path]


@pytest.mark.parametrize("limit", [4, 5_000, 100_000])
def test_a_full_disk_is_a_typed_error(tmp_path, limit):
    model = open_model(SOURCE)
    path = tmp_path / "a"
    path.write_bytes(b"the old state")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        with pytest.raises(ArchiveError, match="cannot write") as error:
            write_archive(path, model, get_codec("zstd"), Granularity())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, old)
    assert error.value.errno == errno.EFBIG
    assert path.read_bytes() == b"the old state"
    assert not hidden(tmp_path)


def test_a_disk_that_fills_while_unpacking(model, tmp_path):
    write_archive(tmp_path / "a", model, get_codec("zstd"), Granularity())
    reader = open_archive(tmp_path / "a")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, hard))
    try:
        with pytest.raises(ArchiveError) as error:
            reader.unpack(tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert error.value.errno == errno.EFBIG
    assert not list((tmp_path / "out").iterdir())


def test_places_that_cannot_be_written(model, tmp_path):
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "missing" / "a", tmp_path / "folder"):
        with pytest.raises(ArchiveError, match="cannot write"):
            write_archive(path, model, get_codec("zstd"), Granularity())
    assert not hidden(tmp_path)


WRITER = """
from weightbench.archive import write_archive
from weightbench.granularity import Granularity
from weightbench.models import SyntheticSource, open_model
from weightcodecs import get_codec
import sys

def told(done, total):
    print(done, flush=True)

model = open_model(SyntheticSource(shapes=[[256, 256]] * 40, dtype="bfloat16"))
while True:
    write_archive(sys.argv[1], model, get_codec("lz4"), Granularity(), progress=told)
"""


@pytest.mark.parametrize("old", [True, False])
def test_a_killed_writer_leaves_the_old_archive_or_a_new_one(tmp_path, old):
    path = tmp_path / "a"
    model = open_model(SOURCE)
    if old:
        write_archive(path, model, get_codec("identity"), Granularity())
    for lines in (1, 25, 41, 90):
        command = [sys.executable, "-c", textwrap.dedent(WRITER), str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            for _ in range(lines):
                assert process.stdout.readline()
            time.sleep(0.001 * lines % 7)
            process.kill()
            process.stdout.read()
        if lines == 1 and not old:
            assert not path.exists()
        if path.exists():
            reader = open_archive(path)
            reader.verify(deep=True)
            if lines == 1 and old:
                assert reader.index.about["codec"] == "identity"
