"""Small models, each with one thing that is easy to get wrong."""

import math

import torch
from torch import nn
from torch.nn import functional as F


class Readout(nn.Module):
    """Three class scores of anything (n, ...), without parameters."""

    def forward(self, x):
        x = x.flatten(1)
        weight = torch.sin(torch.arange(3 * x.shape[1], dtype=x.dtype, device=x.device) + 1).view(-1, 3)
        return 3 * torch.tanh(x) @ weight / math.sqrt(x.shape[1])


class Twice(nn.Module):
    """One linear layer used on two inputs and on its own output."""

    def __init__(self):
        super().__init__()
        self.stem, self.shared, self.head = nn.Linear(6, 5), nn.Linear(5, 5), nn.Linear(5, 3)

    def forward(self, x):
        x = self.stem(x)
        return self.head(self.shared(torch.tanh(self.shared(x))) + self.shared(x.sin()))


class Pyramid(nn.Module):
    """One convolution used on two picture sizes."""

    def __init__(self):
        super().__init__()
        self.conv, self.out = nn.Conv2d(2, 4, 3, padding=1), Readout()

    def forward(self, x):
        small = F.avg_pool2d(x, 2)
        return self.out(torch.cat([self.conv(x).flatten(1), self.conv(small).flatten(1)], dim=1))


class Frames(nn.Module):
    """Frames of a record are folded into the rows, (n, t, c, h, w) -> (n * t, c, h, w); or, `mixed`, time first."""

    def __init__(self, time_first=False):
        super().__init__()
        self.time_first = time_first
        self.conv, self.norm = nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4)
        self.fc, self.embed = nn.Linear(4, 4), nn.Embedding(5, 4)
        self.out = Readout()

    def forward(self, x):
        n, t = x.shape[:2]
        x = x.transpose(0, 1) if self.time_first else x
        index = (x.mean((2, 3, 4)) * 10).long().abs() % 5
        rows = self.norm(self.conv(x.flatten(0, 1))).relu().mean((2, 3))
        rows = self.fc(rows) * self.embed(index.flatten())
        rows = rows.view(t, n, 4).transpose(0, 1) if self.time_first else rows.view(n, t, 4)
        return self.out(rows)


class InPlace(nn.Module):
    """In-place operations on what layers return, as all over torchvision."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.conv2, self.fc = nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.Linear(4, 6)
        self.relu, self.head = nn.ReLU(inplace=True), nn.Linear(6, 3, bias=False)

    def forward(self, x):
        identity = self.relu(self.bn1(self.conv1(x)))
        out = self.conv2(identity)
        out += identity
        rows = self.fc(self.relu(out).permute(0, 2, 3, 1))
        rows *= 2
        rows += 0.1
        rows.sigmoid_()
        return self.head(rows.mean((1, 2)))


class Tied(nn.Module):
    """The decoder's weight is the embedding's; its bias is its own."""

    def __init__(self):
        super().__init__()
        self.embed, self.mix, self.decode = nn.Embedding(7, 5), nn.Linear(5, 5), nn.Linear(5, 7)
        self.decode.weight = self.embed.weight

    def forward(self, x):
        return self.decode(torch.tanh(self.mix(self.embed(x).mean(1))))


class Custom(nn.Module):
    """Parameters of the model itself, one of them large, and a linear layer whose weight is used functionally too."""

    def __init__(self):
        super().__init__()
        self.scale, self.position = nn.Parameter(torch.rand(6) + 0.5), nn.Parameter(torch.randn(1, 4, 6))
        self.gain = nn.Parameter(torch.tensor(0.7))
        self.fc, self.out = nn.Linear(6, 6), Readout()

    def forward(self, x):
        x = self.fc(x * self.scale + self.position) * self.gain
        return self.out(x + 0.1 * F.linear(x, self.fc.weight))


class Heads(nn.Module):
    """A head that the loss never sees, one that is called for nothing, and a frozen layer."""

    def __init__(self):
        super().__init__()
        self.frozen, self.body, self.head = nn.Linear(6, 5), nn.Linear(5, 4), nn.Linear(4, 3)
        self.idle, self.aside = nn.Linear(4, 2), nn.Linear(4, 2)
        self.frozen.requires_grad_(False)

    def forward(self, x):
        x = torch.tanh(self.body(self.frozen(x)))
        self.aside(x)
        return self.head(x)


class Switch(nn.Module):
    """A branch that only some records take."""

    def __init__(self):
        super().__init__()
        self.body, self.rare = nn.Linear(6, 3), nn.Linear(6, 3)

    def forward(self, x):
        return self.body(x) + self.rare(x) if bool((x > 50).any()) else self.body(x)


class Attention(nn.Module):
    """Multi-head attention uses its parameters functionally; the position table is looked up without records."""

    def __init__(self):
        super().__init__()
        self.embed, self.place = nn.Embedding(9, 8), nn.Embedding(4, 8)
        self.attend, self.norm = nn.MultiheadAttention(8, 2, batch_first=True), nn.LayerNorm(8)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        h = self.embed(x) + self.place(torch.arange(x.shape[1], device=x.device))
        h = self.norm(h + self.attend(h, h, h, need_weights=False)[0])
        return self.head(h.mean(1))


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.head = nn.LSTM(5, 4, num_layers=2, batch_first=True), nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.lstm(x)[0][:, -1])


class ZeroBranch(nn.Module):
    """A residual branch that starts at zero around a convolution that is not what it seems."""

    class Standardised(nn.Conv2d):
        def forward(self, x):
            return F.conv2d(x, self.weight - self.weight.mean((1, 2, 3), keepdim=True), self.bias, padding=1)

    def __init__(self):
        super().__init__()
        self.stem, self.odd = nn.Conv2d(1, 4, 3, padding=1), self.Standardised(4, 4, 3)
        self.plain, self.norm, self.out = nn.Conv2d(4, 4, 1), nn.GroupNorm(2, 4), Readout()
        nn.init.zeros_(self.norm.weight)

    def forward(self, x):
        x = self.stem(x)
        return self.out(x + self.norm(self.plain(self.odd(x).relu())))


class Checkpointed(nn.Module):
    """The inside is run again during the backward pass."""

    def __init__(self):
        super().__init__()
        self.stem, self.inside, self.head = nn.Linear(6, 5), nn.Linear(5, 5), nn.Linear(5, 3)

    def forward(self, x):
        x = torch.tanh(self.stem(x))
        x = torch.utils.checkpoint.checkpoint(lambda h: torch.tanh(self.inside(h)), x, use_reentrant=False)
        return self.head(x)


class Noisy(nn.Module):
    """Random even in evaluation mode."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(6, 3)

    def forward(self, x):
        return self.fc(F.dropout(x, 0.5, training=True))
