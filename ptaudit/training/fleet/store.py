"""What reference models said, on disk: a file for each finished model, refused where another training made it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save

from ptaudit.archives import check_regular
from ptaudit.errors import RunFolderError
from ptaudit.files import write_whole
from ptaudit.training.checkpoint import difference
from ptaudit.training.fleet.signals import ModelSignals

_KEY, _TRAINING, _SUM = "key", "training", "sha256"
_ARRAYS = ("outputs", "losses", "included")
_REMEDY = "name another fleet.folder, or remove this one to train its models anew"


class FleetStore:
    """Finished reference models, one safetensors file each.

    Args:
        folder: where the files live; made when first needed.
        key: what the signals depend on (settings, code, data, versions). A model with another key is refused, never
            mixed in.
    """

    def __init__(self, folder: Path, key: Mapping[str, str]) -> None:
        self.folder = folder
        self.key = {name: str(value) for name, value in key.items()}

    def path(self, model: int) -> Path:
        """The file of a model."""
        return self.folder / f"model-{model:05d}.safetensors"

    def try_to_write(self) -> None:
        """Find that models can be kept, before time is spent on them.

        Raises:
            RunFolderError: they cannot.
        """
        trial = self.folder / ".trial"
        write_whole(trial, b"")
        trial.unlink(missing_ok=True)

    def save(self, model: int, signals: ModelSignals) -> None:
        """Write beside the file's name and rename when whole.

        Raises:
            RunFolderError: it cannot be written.
        """
        arrays = {name: np.ascontiguousarray(getattr(signals, name)) for name in _ARRAYS}
        told = {_KEY: json.dumps(self.key, sort_keys=True), _TRAINING: signals.training, _SUM: _digest(arrays)}
        write_whole(self.path(model), save(arrays, told))

    def kept(self, models: int) -> dict[int, ModelSignals]:
        """Those of the first `models` models that are finished.

        Raises:
            RunFolderError: a file is damaged, or belongs to another training.
        """
        loaded = {model: self.load(model) for model in range(models)}
        return {model: signals for model, signals in loaded.items() if signals is not None}

    def load(self, model: int) -> ModelSignals | None:
        """What a finished model said; None where there is none.

        Raises:
            RunFolderError: the file is damaged, or belongs to another training.
        """
        path = self.path(model)
        if not path.exists():
            return None
        try:
            check_regular(path)
            with safe_open(path, "numpy") as file:
                told = dict(file.metadata() or {})
                key = dict(json.loads(told[_KEY]))
                arrays = {name: file.get_tensor(name) for name in _ARRAYS}
            if _digest(arrays) != told[_SUM]:
                raise ValueError("check sum")
            signals = ModelSignals(**arrays, training=told[_TRAINING])
        except Exception as error:  # a damaged file can fail in any way
            raise RunFolderError(
                f"the reference model is damaged ({type(error).__name__})", where=str(path), remedy=_REMEDY
            ) from error
        if changes := difference(key, self.key):
            raise RunFolderError(
                f"the reference model belongs to another training: {changes}", where=str(path), remedy=_REMEDY
            )
        return signals


def _digest(arrays: Mapping[str, np.ndarray]) -> str:
    text = hashlib.sha256()
    for name, array in arrays.items():
        text.update(f"{name}{array.dtype.str}{array.shape}".encode())
        text.update(array.tobytes())
    return text.hexdigest()
