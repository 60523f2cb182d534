"""Merge a LoRA adapter of peft into the weights of its base model.

An adapter holds two thin matrices for each linear layer that it changes, whose weight becomes
W + scale B A. Each of them is merged when the checkpoint is read. Only those are held in memory; all
others stay mapped from the base.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sklearn_esm._checkpoints._architecture import Checkpoint
from sklearn_esm._checkpoints._hugging_face_format import canonical_name, is_ignored
from sklearn_esm._checkpoints._tensors import check_tensor

if TYPE_CHECKING:
    from torch import Tensor

ADAPTER_CONFIG = "adapter_config.json"
_PREFIX = "base_model.model."
_FACTOR = re.compile(r"(?P<module>.+)\.lora_(?P<factor>[AB])\.weight")
_MERGE = "Merge it with peft's merge_and_unload, save the model, and pass that folder."

# entries that change no weight, or that the tensors of the adapter decide
_HARMLESS = {
    *("peft_type", "task_type", "auto_mapping", "peft_version", "base_model_name_or_path", "revision"),
    *(
        "inference_mode",
        "r",
        "lora_alpha",
        "lora_dropout",
        "use_rslora",
        "rank_pattern",
        "alpha_pattern",
    ),
    *("target_modules", "exclude_modules", "layers_to_transform", "layers_pattern", "modules_to_save"),
    *("megatron_core", "qalora_group_size", "loftq_config", "eva_config", "bias", "init_lora_weights"),
    *("runtime_config", "ensure_weight_tying"),
}
# other ways to begin the training subtract from the base's weights
_PLAIN_BEGINNINGS = (True, False, None, "gaussian", "eva", "orthogonal")


def check_adapter(path: Path, settings: Mapping[str, Any]) -> None:
    """Raise ValueError if the settings of an adapter are not those of plain LoRA."""
    kind = settings.get("peft_type")
    if kind != "LORA":
        raise ValueError(f"{path}: peft_type must be 'LORA'; got {kind!r}. {_MERGE}")
    base = settings.get("base_model_name_or_path")
    if not isinstance(base, str) or not base:
        raise ValueError(
            f"{path}: base_model_name_or_path must be the folder or the Hub name of the base model; got "
            f"{base!r}. {_MERGE}"
        )
    if settings.get("bias", "none") != "none":
        raise ValueError(f"{path}: bias must be 'none'; got {settings['bias']!r}. {_MERGE}")
    begun = settings.get("init_lora_weights", True)
    if begun not in _PLAIN_BEGINNINGS:
        raise ValueError(
            f"{path}: init_lora_weights must not be {begun!r}, which changes the base model. {_MERGE}"
        )
    for name, value in settings.items():
        if name not in _HARMLESS and value:
            raise ValueError(
                f"{path}: {name} must not be set, because only plain LoRA can be merged; got "
                f"{str(value)[:100]}. {_MERGE}"
            )


def merge_adapter(
    folder: Path, settings: Mapping[str, Any], adapter: Mapping[str, Tensor], base: Checkpoint
) -> Checkpoint:
    """Return a base model's checkpoint with the weights of an adapter merged in.

    Parameters
    ----------
    folder : Path
        The adapter's folder.
    settings : mapping of str to object
        Content of its ``adapter_config.json``, after `check_adapter`.
    adapter : mapping of str to Tensor
        Its tensors, by peft's names.
    base : Checkpoint
        The base model.

    Raises
    ------
    ValueError
        If a tensor is missing, unexpected or of a wrong shape.
    """
    if base.architecture.family == "esmc":
        raise ValueError(
            f"{folder} must be a LoRA adapter of ESM-2, ESM-1b or ESM-1v; got one of ESM C. {_MERGE}"
        )
    weights = dict(base.weights)
    factors: dict[str, dict[str, str]] = {}
    for name in adapter:
        inner = name.removeprefix(_PREFIX)
        if is_ignored(inner):
            continue
        found = _FACTOR.fullmatch(inner)
        if found and inner != name:
            factors.setdefault(found["module"], {})[found["factor"]] = name
            continue
        target = canonical_name(inner.removeprefix("esm.")) if inner != name else None
        if target is None or target not in weights:
            raise ValueError(
                f"{folder} must hold LoRA factors of tensors of its base model {base.path}; got {name}. "
                f"{_MERGE}"
            )
        # of modules_to_save: a whole tensor that was trained
        check_tensor(folder, name, adapter, tuple(weights[target].shape))
        weights[target] = adapter[name]
    if not factors:
        raise ValueError(f"{folder} must hold LoRA factors; got none. Download or copy it again.")
    for module, named in factors.items():
        target = canonical_name(f"{module.removeprefix('esm.')}.weight")
        if target is None or target not in weights or target == "embed_tokens.weight":
            raise ValueError(
                f"{folder} must change linear layers of its base model {base.path} only; got factors of "
                f"{module}. {_MERGE}"
            )
        missing = {"A", "B"} - set(named)
        if missing:
            raise ValueError(
                f"{folder} must hold both factors of {module}; "
                f"{_PREFIX}{module}.lora_{missing.pop()}.weight is missing. Download or copy it again."
            )
        weights[target] = _merged(folder, settings, adapter, module, named, weights[target])
    return Checkpoint(folder, base.architecture, weights)


def _merged(
    folder: Path,
    settings: Mapping[str, Any],
    adapter: Mapping[str, Tensor],
    module: str,
    named: Mapping[str, str],
    weight: Tensor,
) -> Tensor:
    rank = _setting(folder, settings, "r", "rank_pattern", 8, module)
    alpha = _setting(folder, settings, "lora_alpha", "alpha_pattern", 8, module)
    if type(rank) is not int or rank < 1:
        raise ValueError(f"{folder / ADAPTER_CONFIG}: r must be a positive integer; got {rank!r}.")
    outputs, inputs = weight.shape
    check_tensor(folder, named["A"], adapter, (rank, inputs))
    check_tensor(folder, named["B"], adapter, (outputs, rank))
    a, b = (adapter[named[factor]] for factor in "AB")  # (rank, inputs), (outputs, rank)
    scale = alpha / (math.sqrt(rank) if settings.get("use_rslora") else rank)
    # in float32 and back to the base's type, as peft does on CPUs
    change = (b.float() @ a.float()) * scale  # (outputs, inputs)
    merged: Tensor = weight + change.to(weight.dtype)  # (outputs, inputs)
    return merged


def _setting(
    folder: Path, settings: Mapping[str, Any], name: str, patterns: str, default: int, module: str
) -> Any:
    """Return an entry for a module: that of the first matching pattern, else the general one."""
    value = settings.get(name, default)
    for pattern, special in (settings.get(patterns) or {}).items():
        try:
            if re.match(rf"(.*\.)?({pattern})$", module):
                value = special
                break
        except re.error as error:
            raise ValueError(
                f"{folder / ADAPTER_CONFIG}: {patterns} must hold regular expressions; got {pattern!r} "
                f"({error})."
            ) from error
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"{folder / ADAPTER_CONFIG}: {name} must be a number; got {value!r}.")
    return value
