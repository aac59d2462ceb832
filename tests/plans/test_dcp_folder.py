"""keep= takes a folder of torch.distributed.checkpoint, and reads names and shapes alone."""

import pickle
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.distributed import checkpoint

import goodinit as gi
from goodinit.errors import CheckpointError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("dcp") / "saved"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, of having one process
        checkpoint.save(body(4).state_dict(), checkpoint_id=path)
    return path


def body(classes: int) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.Linear(5, classes))


def test_what_the_folder_has_is_kept_and_the_rest_drawn(folder: Path) -> None:
    net = nn.Sequential(*body(4), nn.Linear(4, 2))
    plan = gi.plan(net, "he", keep=folder)
    assert [row.name for row in plan if not row.kept] == ["3.weight", "3.bias"]
    assert gi.plan(net, "he", keep=str(folder)).digest == plan.digest
    grown = gi.plan(body(6), "he", keep=folder)["2.weight"]
    assert grown.grown_from == (4, 5)
    loaded = gi.load_(net, folder, "he", seed=0)
    assert [row.name for row in loaded if not row.kept] == ["3.weight", "3.bias"]
    assert torch.equal(net[2].weight, body(4)[2].weight)


@pytest.mark.parametrize("module", ["pathlib", "pathlib._local"])  # before Python 3.13, and since
def test_any_python_reads_what_any_wrote(folder: Path, tmp_path: Path, module: str) -> None:
    written = (folder / ".metadata").read_bytes()
    bare = written[:2] + written[11:]  # without the frame, which says how long the rest is
    before, after = map(short_text, (type(folder).__module__, module))
    assert before in bare
    (tmp_path / ".metadata").write_bytes(bare.replace(before, after))
    assert (
        gi.plan(body(4), "he", keep=tmp_path).digest == gi.plan(body(4), "he", keep=folder).digest
    )


def short_text(text: str) -> bytes:
    """As a pickle has it."""
    return b"\x8c" + bytes([len(text)]) + text.encode()


def test_metadata_that_names_other_code_is_not_read(tmp_path: Path) -> None:
    class Harm:
        def __reduce__(self):
            return Path.touch, (tmp_path / "harm",)

    others = [b"ctorch\nload\n.", b"ctorch.serialization\nload\n.", b"cpathlib\nos\n.",
              b"ctorch.distributed.checkpoint.metadata\nos\n.", b"ccollections\nabc\n.",
              b"ctorch.distributed.checkpoint.metadata\ndataclass\n.",
              b"ctorch.distributed.checkpoint.filesystem\nFileSystemReader\n.",
              b"ctorch\nnone_of_it\n."]  # fmt: skip
    code = [pickle.dumps(Harm()), b"cos\nsystem\n(S'true'\ntR.", *others]
    for harmful in code:
        (tmp_path / ".metadata").write_bytes(harmful)
        with pytest.raises(CheckpointError, match="which no checkpoint needs"):
            gi.plan(body(4), "he", keep=tmp_path)
    for harmful in (b"\x80\x04garbage", b"ctorch\nSize\n."):
        (tmp_path / ".metadata").write_bytes(harmful)
        with pytest.raises(CheckpointError, match="metadata"):
            gi.plan(body(4), "he", keep=tmp_path)
    assert not (tmp_path / "harm").exists()


def test_each_process_reads_alone_before_torch_2_8_too(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There ``load`` has no word against reading together; a process without a part would wait."""

    def load(state_dict: object, *, checkpoint_id: object = None) -> None:
        raise AssertionError("it reads together")

    monkeypatch.setattr(checkpoint.state_dict_loader, "load", load)
    net = body(4)
    gi.load_(net, folder, "he", seed=0)
    assert torch.equal(net[2].weight, body(4)[2].weight)
