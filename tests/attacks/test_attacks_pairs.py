"""Batches in parts: no record is in two of them, and each view is the sum that it says it is."""

from __future__ import annotations

import pytest
import torch

from ptaudit.attacks.observed_density import SummedRecords
from ptaudit.attacks.pairs import draw, split_records
from ptaudit.views import View


def powers(records: int) -> torch.Tensor:
    """Tokens whose sum tells which records are in it: record i is 2**i."""
    return (2.0 ** torch.arange(records, dtype=torch.float64))[None, :, None]


def members(total: float) -> set[int]:
    return {i for i in range(48) if int(total) >> i & 1}


@pytest.mark.parametrize(("m", "rounds"), [(1, 1), (3, 1), (4, 2)])
def test_a_batch_holds_its_target_and_others_of_the_same_part(m: int, rounds: int) -> None:
    generator = torch.Generator().manual_seed(0)
    parts = split_records(torch.arange(48), (0.5, 0.2, 0.3), generator)
    found = draw(SummedRecords(powers(48), 0.0), parts, (3, 2, 1), View("v", m, 1), generator)
    assert [len(part) for part in parts] == [24, 9, 15]
    assert sorted(torch.cat(parts).tolist()) == list(range(48))
    for total, record, part in zip(found.views[0, :, 0].tolist(), found.record.tolist(), found.part.tolist()):
        batch = members(total)
        assert len(batch) == m
        assert record in batch
        assert batch <= set(parts[part].tolist())
    if m > 1:
        for total, record, side in zip(found.views[0, :, 0].tolist(), found.record.tolist(), found.side.tolist()):
            rivals = set(
                found.record[(found.side == side) & (found.part == found.part[found.record == record][0])].tolist()
            )
            assert members(total) & rivals == {record}
    for number, times in enumerate((3, 2, 1)):
        count = torch.bincount(found.record[found.part == number], minlength=48)
        assert count[parts[number]].tolist() == [times] * len(parts[number])


def test_rounds_are_averaged_with_others_of_their_own() -> None:
    generator = torch.Generator().manual_seed(1)
    one = draw(SummedRecords(powers(48), 0.0), [torch.arange(48)], [1], View("v", 2, 2), generator)
    for total, record in zip(one.views[0, :, 0].tolist(), one.record.tolist()):
        others = 2.0 * total - 2.0 * 2.0**record
        assert len(members(others)) in (1, 2)  # two others, or the same one twice: 2 * 2**i = 2**(i + 1)
    spread = [members(2.0 * t - 2.0 * 2.0**r) for t, r in zip(one.views[0, :, 0].tolist(), one.record.tolist())]
    assert sum(len(s) == 2 for s in spread) > 30


def test_noise_has_its_size_on_the_sum_and_shrinks_with_rounds() -> None:
    tokens = torch.zeros(2, 64, 128, dtype=torch.float64)
    for rounds in (1, 4):
        records, generator = SummedRecords(tokens, 3.0), torch.Generator().manual_seed(2)
        seen = draw(records, [torch.arange(64)], [4], View("v", 2, rounds), generator)
        assert seen.views.std().item() == pytest.approx(3.0 / rounds**0.5, rel=0.02)


def test_the_same_seed_draws_the_same() -> None:
    def once(seed: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        parts = split_records(torch.arange(40), (0.5, 0.5), generator)
        return draw(SummedRecords(powers(40), 0.0), parts, [1, 1], View("v", 2), generator).views

    assert torch.equal(once(3), once(3))
    assert not torch.equal(once(3), once(4))
