"""Models and data of the attacks that `sample_models` has none of: a narrow ResNet, bags of words, short messages."""

from __future__ import annotations

import gzip
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F


class Block(nn.Module):
    """Two 3x3 convolutions with GroupNorm around a shortcut; halves the picture."""

    def __init__(self, width_in: int, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width_in, width, 3, stride=2, padding=1, bias=False)
        self.norm1, self.norm2 = nn.GroupNorm(4, width), nn.GroupNorm(4, width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.short = nn.Conv2d(width_in, width, 1, stride=2, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, width_in, s, s) to (n, width, s / 2, s / 2)."""
        out = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        return F.relu(out + self.short(x))


class ResNet(nn.Module):
    """A stem, a block for each doubling of the width, the mean over positions, a linear layer."""

    def __init__(self, num_classes: int, channels: int, width: int, blocks: int) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.GroupNorm(4, width)
        self.blocks = nn.Sequential(*(Block(width << i, width << i + 1) for i in range(blocks)))
        self.fc = nn.Linear(width << blocks, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Class scores (n, num_classes) of pictures."""
        return self.fc(self.blocks(F.relu(self.norm(self.stem(x)))).mean((2, 3)))


def resnet(num_classes: int = 10, channels: int = 3, width: int = 8, blocks: int = 3) -> nn.Module:
    """A narrow ResNet with GroupNorm."""
    return ResNet(num_classes, channels, width, blocks)


class Bag(nn.Module):
    """The mean embedding of the real tokens, one hidden layer, a linear layer."""

    def __init__(self, vocab: int, width: int, hidden: int, num_classes: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocab, width)
        self.hidden, self.head = nn.Linear(width, hidden), nn.Linear(hidden, num_classes)

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Class scores (n, num_classes) of token ids (n, length) and which of them are real."""
        weight = mask.float() / mask.sum(1, keepdim=True).clamp(min=1)
        return self.head(F.relu(self.hidden((self.tokens(ids) * weight[:, :, None]).sum(1))))


def bag(vocab: int = 2000, width: int = 32, hidden: int = 32, num_classes: int = 2) -> nn.Module:
    """A classifier of bags of words."""
    return Bag(vocab, width, hidden, num_classes)


def messages(path: str, vocab: int = 2000, length: int = 24) -> tuple[dict[str, Any], NDArray[Any], dict[str, Any]]:
    """Short messages as {ids, mask}, whether each is spam, and the column `digits`: whether it holds a number.

    Token 0 fills up, token 1 stands for words that are not among the most frequent.
    """
    lines = gzip.decompress(Path(path).read_bytes()).decode().splitlines()[1:]
    labels, texts = zip(*(line.split("\t", 1) for line in lines))
    words = [re.findall(r"[a-z']+|\d+|[^\sa-z\d]", text.lower())[:length] for text in texts]
    common = [word for word, _ in Counter(word for text in words for word in text).most_common(vocab - 2)]
    code = {word: place for place, word in enumerate(common, start=2)}
    ids, mask = np.zeros((len(words), length), np.int64), np.zeros((len(words), length), bool)
    for row, text in enumerate(words):
        ids[row, : len(text)], mask[row, : max(1, len(text))] = [code.get(word, 1) for word in text], True
    digits = np.array(["yes" if re.search(r"\d", text) else "no" for text in texts])
    return {"ids": ids, "mask": mask}, np.array([int(label == "spam") for label in labels]), {"digits": digits}
