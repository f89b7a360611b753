from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import CelebA, ImageFolder
from torchvision.transforms.functional import pil_to_tensor

from ptaudit.data import Records, open_source
from ptaudit.data.split import make_split
from ptaudit.errors import DataError
from ptaudit.spec.model import DataSpec


def picture(path: Path, value: int, size=(6, 5)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(value).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)


@pytest.fixture
def pets(tmp_path) -> Path:
    root = tmp_path / "pets"
    for place, name in enumerate(["dog/b.png", "dog/a.png", "cat/x/1.png", "cat/2.png", "cat/3.bmp"]):
        picture(root / name, place)
    (root / "cat" / "notes.txt").write_text("no picture")
    (root / ".cache").mkdir()
    return root


def records(root: Path, **keys) -> Records:
    source = open_source(DataSpec(source=f"folder:{root}", **keys))
    return source.records(np.arange(len(source)))


def test_class_folders_are_read_as_image_folder_reads_them(pets):
    (pets / ".cache").rmdir()
    theirs = ImageFolder(str(pets))
    found = records(pets)
    assert found.targets.tolist() == [target for _, target in theirs] == [0, 0, 0, 1, 1]
    expected = torch.stack([pil_to_tensor(image) for image, _ in theirs]) / 255
    torch.testing.assert_close(found.inputs, expected)
    assert found.classes == 2


def test_limit_takes_of_every_class(pets):
    whole, found = records(pets), records(pets, limit=3)
    assert found.targets.tolist() == [0, 0, 1]
    assert torch.equal(found.inputs, whole.inputs[[0, 1, 3]])
    assert found.classes == 2


def test_resize_and_grayscale_are_what_pil_does(pets):
    found = records(pets, resize=[4, 3], grayscale=True)
    image = Image.open(pets / "cat" / "2.png").convert("L").resize((3, 4), Image.Resampling.BILINEAR)
    assert found.inputs.shape == (5, 1, 4, 3)
    np.testing.assert_allclose(found.inputs[0, 0].numpy() * 255, np.asarray(image), atol=1e-4)


def test_pictures_of_different_sizes_need_resize(pets):
    picture(pets / "dog" / "c.png", 9, size=(8, 7))
    with pytest.raises(DataError, match=r"c\.png: the picture is 7x8, 2\.png is 5x6 \(.*data\.resize: 5\)"):
        records(pets)
    assert records(pets, resize=5).inputs.shape == (6, 3, 5, 5)


def test_modes_become_three_channels(pets):
    Image.new("RGBA", (6, 5), (255, 0, 0, 9)).save(pets / "dog" / "rgba.png")
    Image.new("L", (6, 5), 51).save(pets / "dog" / "grey.png")
    Image.new("P", (6, 5), 0).save(pets / "dog" / "palette.png")
    assert records(pets).inputs.shape == (8, 3, 5, 6)
    Image.fromarray(np.full((5, 6), 40000, np.uint16)).save(pets / "dog" / "deep.png")
    with pytest.raises(DataError, match=r"deep\.png: not a readable picture: mode I;16 has more than 8 bits"):
        records(pets)


def test_unreadable_picture_is_named(pets):
    whole = (pets / "dog" / "a.png").read_bytes()
    (pets / "dog" / "a.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"dog/a\.png: not a readable picture"):
        records(pets)
    (pets / "dog" / "a.png").write_text("no picture")
    with pytest.raises(DataError, match=r"dog/a\.png: not a readable picture: cannot identify"):
        records(pets)


def test_folders_without_pictures(tmp_path, pets):
    with pytest.raises(DataError, match="no such folder"):
        records(tmp_path / "gone")
    with pytest.raises(DataError, match=r"no class folders \(put the pictures of each class into a folder"):
        records(pets / "dog")
    (pets / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty: the class folder has no pictures"):
        records(pets)


def test_table_names_files_label_attributes_and_user(pets, tmp_path):
    table = tmp_path / "faces.csv"
    table.write_text("image,Smiling,Male,who\ndog/b.png,1,-1,u1\ncat/2.png,-1,1,u2\ndog/a.png,1,1,u1\n")
    found = records(pets, table=table, label="Smiling", attributes=["Male"], user="who")
    assert found.targets.tolist() == [1, 0, 1]
    assert found.columns["Male"].tolist() == [-1, 1, 1]
    assert found.columns["who"].tolist() == ["u1", "u2", "u1"]
    whole = records(pets)
    assert torch.equal(found.inputs, whole.inputs[[4, 0, 3]])
    by_folder = records(pets, table=table, attributes=["Male"])
    assert by_folder.targets.tolist() == [1, 0, 1]  # dog, cat, dog
    spec = DataSpec(source=f"folder:{pets}", table=table, split_by="who")
    source = open_source(spec)
    split = make_split(len(source), spec, source.columns)
    assert {*split.members.tolist()} in ({0, 2}, {1})  # u1 or u2


def test_table_in_the_format_of_celeba(pets, tmp_path):
    table = tmp_path / "list_attr_celeba.txt"
    table.write_text("3\nSmiling Male \ndog/b.png  1 -1\ncat/2.png -1  1\ndog/a.png  1  1\n")
    found = records(pets, table=table, label="Smiling", attributes=["Male"])
    assert found.targets.tolist() == [1, 0, 1]
    assert found.columns["Male"].tolist() == [-1, 1, 1]


@pytest.mark.parametrize(
    ("text", "keys", "message"),
    [
        ("image,a\ngone.png,1\ndog/a.png,2\n", {"label": "a"}, r"pets/gone\.png: no such picture"),
        ("image,a\ndog/a.png,1\ndog/b.png,2\n", {"label": "b"}, r"table\.csv: no column 'b' \(data\.label\)"),
        ("image,a\na.png,1\nb.png,2\n", {}, r"a\.png is in no class folder .*data\.label"),
        ("image,a\n", {"label": "a"}, "0 records are too few"),
        ("image,a\ndog/a.png,1\ndog/b.png,\n", {"label": "a"}, r"'a' \(the label\) is empty in 1 records"),
    ],
)
def test_wrong_tables_are_named(pets, tmp_path, text, keys, message):
    (tmp_path / "table.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        records(pets, table=tmp_path / "table.csv", **keys)


def test_text_that_is_not_celebas(pets, tmp_path):
    (tmp_path / "identity.txt").write_text("a.png 3\nb.png 4\n")
    with pytest.raises(DataError, match=r"identity\.txt: not in the layout of CelebA's list_attr_celeba\.txt"):
        records(pets, table=tmp_path / "identity.txt", label="x")


@pytest.fixture
def celeba(tmp_path, monkeypatch) -> Path:
    """CelebA in small, with the checksums of its own lists."""
    folder = tmp_path / "celeba"
    names = [f"{number:06}.jpg" for number in range(1, 9)]
    for place, name in enumerate(names):
        picture(folder / "img_align_celeba" / name, place, size=(12, 14))
    smiling = [1, -1, 1, -1, 1, 1, -1, -1]
    lists = {
        "list_attr_celeba.txt": "8\nMale Smiling Young \n"
        + "".join(f"{n}  1 {s:2} -1\n" for n, s in zip(names, smiling, strict=True)),
        "identity_CelebA.txt": "".join(f"{n} {100 + i // 2}\n" for i, n in enumerate(names)),
        "list_bbox_celeba.txt": "8\nimage_id x_1 y_1 width height\n" + "".join(f"{n} 0 0 9 9\n" for n in names),
        "list_landmarks_align_celeba.txt": "8\n"
        + " ".join(f"p{i}" for i in range(10))
        + "\n"
        + "".join(n + " 1" * 10 + "\n" for n in names),
        "list_eval_partition.txt": "".join(f"{n} {0 if i < 6 else 2}\n" for i, n in enumerate(names)),
    }
    checked = []
    for name, text in lists.items():
        (folder / name).write_text(text)
        checked.append(("id", hashlib.md5(text.encode()).hexdigest(), name))
    monkeypatch.setattr(CelebA, "file_list", checked)
    return tmp_path


def test_celeba_of_torchvision(celeba):
    spec = DataSpec(
        source="torchvision:CelebA",
        root=celeba,
        label="Smiling",
        attributes=["Male", "Young"],
        user="identity",
        resize=8,
        held_out=1 / 3,
        split_by="identity",
    )
    source = open_source(spec)
    split = make_split(len(source), spec, source.columns)
    found = source.records(split.members)
    assert found.inputs.shape == (6, 3, 8, 8)
    assert (found.targets.tolist(), found.classes) == ([1, 0, 1, 0, 1, 1], 2)
    assert found.columns["Male"].tolist() == [1] * 6
    assert found.columns["Young"].tolist() == [0] * 6
    assert found.columns["identity"].tolist() == [100, 100, 101, 101, 102, 102]
    assert len({*found.columns["identity"][split.held_out]}) == 1
    theirs = CelebA(str(celeba), split="train")
    image = theirs[2][0].resize((8, 8), Image.Resampling.BILINEAR)
    np.testing.assert_allclose(found.inputs[2].numpy() * 255, np.asarray(image).transpose(2, 0, 1), atol=1e-4)


def test_celeba_errors(celeba):
    spec = {"source": "torchvision:CelebA", "root": celeba}
    with pytest.raises(DataError, match=r"no column 'Smling' \(data\.label\) \(did you mean 'Smiling'\?\)"):
        open_source(DataSpec(**spec, label="Smling"))
    with pytest.raises(DataError, match=r"no column 'Hat' \(data\.attributes\)"):
        open_source(DataSpec(**spec, label="Smiling", attributes=["Hat"]))
    (celeba / "celeba" / "img_align_celeba" / "000003.jpg").unlink()
    with pytest.raises(DataError, match=r"000003\.jpg: no such picture"):
        open_source(DataSpec(**spec, label="Smiling"))
    (celeba / "celeba" / "identity_CelebA.txt").write_text("changed")
    with pytest.raises(DataError, match=r"celeba: CelebA was not found here .*data\.download: true"):
        open_source(DataSpec(**spec, label="Smiling"))


def test_torchvision_sets_are_resized_too(tmp_path, monkeypatch):
    from torchvision import datasets

    class Pixels:
        def __init__(self, root):
            self.data = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)
            self.targets = [0, 1, 0, 1, 0]

    monkeypatch.setattr(datasets, "Pixels", Pixels, raising=False)
    found = open_source(DataSpec(source="torchvision:Pixels", root=tmp_path, resize=4, grayscale=True)).records(None)
    assert found.inputs.shape == (5, 1, 4, 4)
    image = Image.fromarray(Pixels("").data[3]).convert("L").resize((4, 4), Image.Resampling.BILINEAR)
    np.testing.assert_allclose(found.inputs[3, 0].numpy() * 255, np.asarray(image), atol=1.1)  # PIL rounds on the way


def test_parts_of_a_data_set_are_no_classes(tmp_path):
    for place, name in enumerate(["train/dog/a.png", "train/cat/b.png", "Test/dog/c.png", "Test/cat/d.png"]):
        picture(tmp_path / "pets" / name, place)
    with pytest.raises(DataError, match=r"the folders Test, train are parts of a data set, not classes.*pets/train"):
        records(tmp_path / "pets")
    assert records(tmp_path / "pets" / "train").classes == 2
