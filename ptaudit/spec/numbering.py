"""Which epoch a checkpoint is of: from what stands in the file, from its name, or from the order of the names.

Whoever counts epochs from 0 is off by one: Lightning and timm do, many loops do in the key `epoch` or in the name. The
epoch of a checkpoint is the number of whole epochs trained before it; 0 is the untrained model.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ptaudit.spec.base import fault
from ptaudit.spec.checkpoint_labels import HUGGING_FACE, LIGHTNING, CheckpointLabel, read_label

_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)*")
_CALLED = re.compile(r"(?:^|[^a-z])ep(?:och)?s?(?P<sign>[=_ .-]?)(?P<epoch>[0-9]{1,9})(?![0-9]*\.[0-9])", re.IGNORECASE)
"""`epoch=3`, `epoch_3`, `ep3`: as Lightning, Keras and many loops write it; Lightning counts from 0."""

_STEP = re.compile(r"(?:^|[^a-z])(?:global_?)?(?:step|iter|iteration|batch|update)s?[=_ .-]?[0-9]+$", re.IGNORECASE)
"""`step_1000`, `iter-200`: at the end of a name."""

_SHARD = re.compile(r"-[0-9]{5}-of-[0-9]{5}$")
_MOST_DIGITS = 12


@dataclass(frozen=True)
class Numbering:
    """The checkpoints by epoch.

    Attributes:
        saved: the files by epoch, ascending.
        how: in words, where the epochs come from.
        labels: what each file says of itself, by epoch, of those that do.
    """

    saved: Mapping[int, Path]
    how: str
    labels: Mapping[int, CheckpointLabel]


@dataclass(frozen=True)
class _Named:
    """Numbers in names: `how` they are found, whether they are called epochs, and all in the form `epoch=3`."""

    epochs: tuple[int, ...]
    how: str
    called: bool
    equals: bool = False


def number(paths: Sequence[Path]) -> Numbering:
    """Give each checkpoint its epoch.

    Raises:
        ValueError: it is not clear which; names and what stands in the files disagree; or two are of one epoch.
    """
    if sharded := next((path for path in paths if _SHARD.search(path.stem)), None):
        raise fault(
            f"`{_place(sharded)}` is a part of a model",
            at=("checkpoints",),
            remedy="save the model in one file: save_pretrained(..., max_shard_size='100GB')",
        )
    found = [read_label(path) for path in paths]
    if any(found):
        epochs, how = _from_files(paths, found)
    else:
        epochs, how = _from_names(paths)
    _check_apart(epochs, paths)
    order = sorted(range(len(paths)), key=lambda at: epochs[at])
    saved = {epochs[at]: paths[at] for at in order}
    return Numbering(saved, how, {epochs[at]: one for at in order if (one := found[at]) is not None})


def _from_files(paths: Sequence[Path], found: Sequence[CheckpointLabel | None]) -> tuple[list[int], str]:
    """The epochs that files tell, held against their names."""
    _check_whole(paths, found)
    named = _named([path.stem for path in paths])
    if named is not None and len(paths) == 1 and not named.called:
        named = None  # a number of one file may be anything
    sure = [one.trained for one in found if one is not None and one.trained is not None]
    if len(sure) == len(paths):
        _check_sure(paths, sure, named)
        tools = sorted({one.tool for one in found if one is not None})
        return [int(epoch) for epoch in sure], f"the epoch is the one that {' and '.join(tools)} wrote into the file"
    stated = [one.epoch if one is not None else None for one in found]
    if None in stated and named is None:
        telling, silent = (
            paths[next(i for i, e in enumerate(stated) if (e is None) is what)] for what in (False, True)
        )
        raise fault(
            f"`{_place(silent)}` does not tell its epoch, and `{_place(telling)}` does",
            at=("checkpoints",),
            remedy="leave it out, or write the epoch into its name as in epoch-3",
        )
    return _agreed(paths, found, stated, named)


def _agreed(
    paths: Sequence[Path], found: Sequence[CheckpointLabel | None], stated: Sequence[float | None], named: _Named | None
) -> tuple[list[int], str]:
    """The key `epoch` and the name: the same, or one of them counts from 0 and the larger is the number of epochs."""
    gaps = {name - epoch for name, epoch in zip(named.epochs, stated) if epoch is not None} if named else {0}
    steps = [one.step or 0 for one in found if one is not None and one.epoch == 0]
    from_zero = any(one is not None and one.tool == LIGHTNING for one in found) or any(steps)
    if named is not None and len(gaps) == 1 and abs(next(iter(gaps))) == 1:
        more = max(0, -int(next(iter(gaps))))
        both = "in the files and in their names, of which one counts from 0 and the larger is taken"
        return [epoch + more for epoch in named.epochs], f"the epoch is the number called epoch {both}"
    if gaps != {0} and (named is None or named.called or None in stated):
        assert named is not None
        at = next(i for i, e in enumerate(stated) if e is not None and named.epochs[i] != e)
        raise fault(
            f"`{_place(paths[at])}` is of epoch {named.epochs[at]} by its name and of epoch {stated[at]:g} by what "
            "stands in it",
            at=("checkpoints",),
            remedy="rename it, or leave it out",
        )
    epochs = [int(e) if e is not None else named.epochs[i] if named else 0 for i, e in enumerate(stated)]
    said = "the key `epoch` of the file"
    if from_zero:
        return [epoch + 1 for epoch in epochs], f"the epoch is one more than {said}, which counts from 0"
    return epochs, f"the epoch is {said}"


def _check_whole(paths: Sequence[Path], found: Sequence[CheckpointLabel | None]) -> None:
    for path, one in zip(paths, found):
        epoch = None if one is None else one.epoch if one.trained is None else one.trained
        if one is not None and epoch is not None and epoch != int(epoch):
            step = " and the number in its name is a step" if one.tool == HUGGING_FACE else ""
            raise fault(
                f"`{_place(path)}` was saved after {epoch:g} epochs{step}",
                at=("checkpoints",),
                remedy="leave it out, or save at the end of each epoch (save_strategy='epoch')",
            )


def _check_sure(paths: Sequence[Path], sure: Sequence[float], named: _Named | None) -> None:
    if named is None or not named.called:
        return
    for path, epoch, name in zip(paths, sure, named.epochs):
        if name not in (epoch, epoch - 1):
            raise fault(
                f"`{_place(path)}` is of epoch {name} by its name, and after {epoch:g} epochs by what stands in it",
                at=("checkpoints",),
                remedy="rename it, or leave it out",
            )


def _check_apart(epochs: Sequence[int], paths: Sequence[Path]) -> None:
    twice = next((epoch for epoch, times in Counter(epochs).items() if times > 1), None)
    if twice is not None:
        same = [f"`{_place(path)}`" for path, epoch in zip(paths, epochs) if epoch == twice]
        raise fault(f"{' and '.join(same[:3])} are of one epoch, {twice}", at=("checkpoints",), remedy="leave one out")


def _from_names(paths: Sequence[Path]) -> tuple[list[int], str]:
    """The epochs that names tell; those of the folders where only they tell the files apart; else their order."""
    folders = [path.parent.name for path in paths] if len(paths) > 1 else []
    for names, what in (([path.stem for path in paths], "the file's name"), (folders, "the folder's name")):
        _check_clear(names)
        _check_no_steps(names)
        named = _named(names)
        if named is not None and len(set(named.epochs)) == len(paths):
            if named.equals and (0 in named.epochs or all(path.suffix == ".ckpt" for path in paths)):
                how = "one more than the number called epoch, which counts from 0,"
                return [epoch + 1 for epoch in named.epochs], f"the epoch is {how} in {what}"
            return list(named.epochs), f"the epoch is {named.how} in {what}"
    _check_numbers([path.stem for path in paths], paths)
    _check_order(paths)
    ordered = sorted(paths, key=_natural)
    said = f", {_place(ordered[0])} first and {_place(ordered[-1])} last" if len(ordered) > 1 else ""
    return [1 + ordered.index(path) for path in paths], f"the epochs count from 1 in the order of their names{said}"


def _check_numbers(names: Sequence[str], paths: Sequence[Path]) -> None:
    """Numbers in some of the names, or some of them the same, are no order.

    Raises:
        ValueError: for these.
    """
    numbers = [_numbers(name) for name in names]
    named = _named(names)
    if named is not None and (named.called or len(set(named.epochs)) > 1):
        _check_apart(named.epochs, paths)
    if any(numbers) and not all(numbers):
        without = paths[next(at for at, some in enumerate(numbers) if not some)]
        raise fault(
            f"of which epoch is `{_place(without)}`? Others have a number",
            at=("checkpoints",),
            remedy="leave it out, or write the epoch into its name as in epoch-3",
        )


def _check_no_steps(names: Sequence[str]) -> None:
    """Refuse names whose last number is called a step."""
    steps = [name for name in names if _STEP.search(name) and not _CALLED.search(name)]
    if steps:
        raise fault(
            f"the number in `{steps[0]}` is a step, not an epoch",
            at=("checkpoints",),
            remedy="write the epoch into its name as in epoch-3, or into the file as the key epoch",
        )


def _check_order(paths: Sequence[Path]) -> None:
    """Refuse names that only words tell apart: of `final` and `init` nobody knows which is first."""
    if len({re.sub("[0-9]+", "", str(path)) for path in paths}) > 1:
        some = " and ".join(f"`{_place(path)}`" for path in paths[:2])
        raise fault(
            f"the names of {some} do not tell their epochs",
            at=("checkpoints",),
            remedy="write the epoch into the names as in epoch-3, or into the files as the key epoch",
        )


def _check_clear(names: Sequence[str]) -> None:
    """Refuse names in which several numbers differ, none of which is called an epoch."""
    if names and not all(map(_CALLED.search, names)) and _unclear(list(map(_numbers, names))):
        raise fault(
            f"which number is the epoch in `{names[0]}`, `{names[1]}`, ...?",
            at=("checkpoints",),
            remedy="write epoch before it, as in epoch-3, or give the files names with one number",
        )


def _named(names: Sequence[str]) -> _Named | None:
    """The epoch in each name; None where there is none, or it is not clear which number it is."""
    called = [_CALLED.search(name) for name in names]
    if names and all(called):
        equals = all(match["sign"] == "=" for match in called if match)
        return _Named(tuple(int(match["epoch"]) for match in called if match), "the number called epoch", True, equals)
    numbers = [_numbers(name) for name in names]
    if not names or not all(numbers) or _unclear(numbers):
        return None
    return _Named(tuple(some[-1] for some in numbers), "the last whole number", False)


def _unclear(numbers: Sequence[Sequence[int]]) -> bool:
    """Whether more than one number differs between names of equally many numbers."""
    alike = len({len(some) for some in numbers}) == 1
    return alike and sum(len(set(same)) > 1 for same in zip(*numbers)) > 1


def _numbers(name: str) -> list[int]:
    return [int(n) for n in _NUMBER.findall(name) if "." not in n and len(n) <= _MOST_DIGITS]


def _place(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def _natural(path: Path) -> list[tuple[int, str]]:
    """Sorts `epoch-10` after `epoch-9`."""
    parts = re.split(r"([0-9]+)", str(path))
    return [(int(part), "") if k % 2 else (0, part) for k, part in enumerate(parts)]
