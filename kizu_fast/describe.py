"""The captioner as the registry wants it, and the captioners that this edition knows by name and does not run."""

from collections.abc import Callable

import numpy as np
from tokenizers import Tokenizer as Rules

from kizu_fast.domain import Caption, Photo
from kizu_fast.errors import ConfigError
from kizu_fast.models import caption
from kizu_fast.registry import Prepared
from kizu_fast.specs import ModelSpec, Tensors


class Captioner:
    """Florence-2, ViT-GPT2 or any graph of their contract: photo to a sentence."""

    def __init__(self, spec: ModelSpec, rules: Rules) -> None:
        self.spec, self._rules = spec, rules
        if spec.preprocessing not in caption.STEPS:
            raise ConfigError(f"{spec.name}: unknown preprocessing {spec.preprocessing!r}; export it again with this version: python -m export")

    def prepare(self, photo: Photo) -> Prepared[Caption]:
        """The whole picture, stretched: uint8 (side, side, 3)."""
        side = self.spec.inputs[0].shape[0]
        return Prepared({self.spec.inputs[0].name: caption.preprocess(photo, side, self.spec.preprocessing)}, self._finish)

    def _finish(self, outputs: Tensors) -> Caption:
        return Caption(caption.postprocess(np.asarray(outputs[self.spec.outputs[0].name], np.int64), self._rules))


def refusal(reason: str) -> Callable[[], object]:
    """The factory of a captioner that is known and not run here: it raises ConfigError with the reason and the way on."""

    def refuse() -> object:
        raise ConfigError(reason)

    return refuse
