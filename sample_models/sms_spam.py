"""The SMS Spam Collection (Almeida et al. 2011) as sequences of words, for `transformer.py` and the like.

Copy this file for texts of your own. In a spec:

    data: {source: ../sample_models/sms_spam.py:records, args: {vocab: 2000, length: 32}}

A message is a row of word numbers with a mask that says which are real: number 0 stands for every rarer word.
"""

import csv
import gzip
import os
import re
from collections import Counter
from pathlib import Path

import numpy as np

HOME = "https://archive.ics.uci.edu/dataset/228/sms+spam+collection"


def records(root: str | None = None, vocab: int = 2000, length: int = 32) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Messages {"ids": (n, length), "mask": (n, length)} and whether each is spam (n,).

    Args:
        root: folder with `sms_spam.tsv.gz` (columns `label` and `msg`); by default the folder named by the environment
            variable PTAUDIT_DATA, or `data` beside the folder of this file.
        vocab: numbers of words, the most frequent ones; all others share number 0.
        length: words of a message that are kept.
    """
    folder = Path(root or os.environ.get("PTAUDIT_DATA") or Path(__file__).parents[1] / "data")
    path = folder / "sms_spam.tsv.gz"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; get it from {HOME} and set PTAUDIT_DATA to its folder")
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    texts = [re.findall(r"\w+|[^\w\s]", row["msg"].lower())[:length] for row in rows]
    count = Counter(word for text in texts for word in text)
    number = {word: place for place, (word, _) in enumerate(count.most_common(vocab - 1), start=1)}
    ids, mask = np.zeros((len(texts), length), np.int64), np.zeros((len(texts), length), bool)
    for row, text in enumerate(texts):
        ids[row, : len(text)] = [number.get(word, 0) for word in text]
        mask[row, : len(text)] = True
    return {"ids": ids, "mask": mask}, np.array([row["label"] == "spam" for row in rows], np.int64)
