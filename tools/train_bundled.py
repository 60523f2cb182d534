"""Train the small ESM-2 model that is shipped with the package, by masked-language modelling.

Usage: ``python tools/train_bundled.py TRAIN.fasta.gz VALID.fasta.gz OUT.pt [--steps N]``.
It writes a checkpoint in fair-esm's own file format and a JSON file of the figures in its model
card. A run that was stopped goes on from ``OUT.pt.state`` when it is started again.
"""

import argparse
import gzip
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from esm.data import Alphabet
from esm.model.esm2 import ESM2
from torch import Tensor

LAYERS, WIDTH, HEADS = 6, 128, 4
TOKENS_PER_BATCH = 4096
ROW_LENGTHS = (
    64,
    128,
    128,
    256,
)  # tokens in a crop; short crops are cheap, long ones carry context
START_FRACTION = 0.25  # of the crops begin at BOS: random starts would all but never show it
MASKED_FRACTION = 0.15
PEAK_LEARNING_RATE, WARMUP_STEPS, FINAL_FRACTION = 4e-3, 200, 0.02
SEED = 20

ALPHABET = Alphabet.from_architecture("ESM-1b")
RESIDUES = torch.tensor([ALPHABET.get_idx(residue) for residue in "ACDEFGHIKLMNPQRSTVWY"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("train", type=Path)
    parser.add_argument("valid", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=5000)
    options = parser.parse_args()

    train, valid = read_tokens(options.train), read_tokens(options.valid)
    torch.manual_seed(SEED)
    model = new_model()
    optimizers = make_optimizers(model)
    state_path = options.out.with_name(options.out.name + ".state")
    first_step, seconds = restore(state_path, model, optimizers)
    started = time.monotonic() - seconds
    running = 0.0
    for step in range(first_step, options.steps):
        # a generator for every step, so that a resumed run sees the batches of an unbroken one
        rng = np.random.default_rng([SEED, step])
        rate = learning_rate(step, options.steps)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
        loss = masked_loss(model, *corrupt(sample_crops(train, rng), rng))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        running = 0.98 * running + 0.02 * loss.item() if step > first_step else loss.item()
        if (step + 1) % 250 == 0 or step + 1 == options.steps:
            save_state(state_path, model, optimizers, step + 1, time.monotonic() - started)
            print(
                f"step {step + 1}: train perplexity {math.exp(running):.2f}, "
                f"valid {perplexity(model, valid):.2f}, {time.monotonic() - started:.0f} s",
                flush=True,
            )
    save_checkpoint(options.out, model)
    figures = {
        "parameters": sum(p.numel() for p in model.parameters()),
        "steps": options.steps,
        "tokens_seen": options.steps * TOKENS_PER_BATCH,
        "training_proteins": len(train),
        "training_residues": int(sum(len(tokens) - 2 for tokens in train)),
        "seconds": round(time.monotonic() - started),
        "validation_perplexity": round(perplexity(model, valid), 3),
        "validation_perplexity_of_frequencies": round(frequency_perplexity(train, valid), 3),
        "seed": SEED,
        "torch": torch.__version__,
    }
    options.out.with_suffix(".json").write_text(json.dumps(figures, indent=2) + "\n")
    state_path.unlink()
    print(json.dumps(figures, indent=2))


def read_tokens(path: Path) -> list[np.ndarray]:
    """Tokens of every protein, BOS and EOS included, each ``(residues + 2,)`` int64."""
    table = np.full(256, ALPHABET.get_idx("X"), dtype=np.int64)
    for residue in "ACDEFGHIKLMNPQRSTVWYXBUZO":
        table[ord(residue)] = ALPHABET.get_idx(residue)
    proteins = []
    with gzip.open(path, "rt") as handle:
        for record in handle.read().split(">")[1:]:
            sequence = "".join(record.splitlines()[1:]).upper().encode("ascii")
            tokens = table[np.frombuffer(sequence, dtype=np.uint8)]
            proteins.append(np.concatenate([[ALPHABET.cls_idx], tokens, [ALPHABET.eos_idx]]))
    return proteins


def new_model() -> ESM2:
    model = ESM2(LAYERS, WIDTH, HEADS, ALPHABET)
    with torch.no_grad():
        torch.nn.init.normal_(model.embed_tokens.weight, std=0.1)
        for layer in model.layers:
            # fair-esm's files hold the frequencies rounded to fp16; train with what will be read
            layer.self_attn.rot_emb.inv_freq.copy_(layer.self_attn.rot_emb.inv_freq.half())
            for residual in (layer.self_attn.out_proj, layer.fc2):
                residual.weight.mul_(1 / math.sqrt(2 * LAYERS))
    model.contact_head.requires_grad_(False)
    return model


def make_optimizers(model: ESM2) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the blocks (Jordan et al. 2024), AdamW for everything else."""
    blocks = [p for p in model.layers.parameters() if p.ndim == 2]
    chosen = {id(p) for p in blocks}
    others = [p for p in model.parameters() if id(p) not in chosen and p.requires_grad]
    return [
        Muon(blocks, weight_decay=0.02),
        torch.optim.AdamW(others, betas=(0.9, 0.98), weight_decay=0.0, fused=True),
    ]


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised by Newton-Schulz iteration (Jordan et al. 2024).

    ``torch.optim.Muon`` iterates in bfloat16, one matrix at a time, which took three quarters of a
    step on a processor without bfloat16 units; here matrices of one shape go together in float32.
    """

    def __init__(
        self, params: list[torch.nn.Parameter], weight_decay: float, momentum: float = 0.95
    ) -> None:
        super().__init__(params, {"lr": 0.0, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # no closure here
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[torch.nn.Parameter]] = {}
            for p in group["params"]:
                by_shape.setdefault(p.shape, []).append(p)
            for (height, width), params in by_shape.items():
                updates = []
                for p in params:
                    assert p.grad is not None
                    mean = self.state[p].setdefault("mean", torch.zeros_like(p))
                    mean.lerp_(p.grad, 1 - group["momentum"])
                    updates.append(p.grad.lerp(mean, group["momentum"]))  # Nesterov
                # the factor gives the update the root mean square that AdamW's has
                size = group["lr"] * 0.2 * math.sqrt(max(height, width))
                for p, update in zip(params, orthogonalise(torch.stack(updates)), strict=True):
                    p.mul_(1 - group["lr"] * group["weight_decay"]).sub_(update, alpha=size)


def orthogonalise(matrices: Tensor) -> Tensor:
    """The nearest semi-orthogonal matrices, roughly: singular values end up in about 0.7 to 1.2."""
    tall = matrices.shape[1] > matrices.shape[2]
    x: Tensor = matrices.mT if tall else matrices  # (matrices, short, long)
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(5):
        gram = x @ x.mT  # (matrices, short, short)
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x.mT if tall else x


def learning_rate(step: int, steps: int) -> float:
    """Linear warm-up, then half a cosine down to ``FINAL_FRACTION`` of the peak."""
    if step < WARMUP_STEPS:
        return PEAK_LEARNING_RATE * (step + 1) / WARMUP_STEPS
    progress = (step - WARMUP_STEPS) / max(1, steps - WARMUP_STEPS)
    cosine = 0.5 * (1 + math.cos(math.pi * progress))
    return PEAK_LEARNING_RATE * (FINAL_FRACTION + (1 - FINAL_FRACTION) * cosine)


def sample_crops(proteins: list[np.ndarray], rng: np.random.Generator) -> Tensor:
    """Crops of one length from proteins at least as long, so that no batch is padded."""
    length = int(rng.choice(ROW_LENGTHS))
    rows: list[np.ndarray] = []
    while len(rows) < TOKENS_PER_BATCH // length:
        tokens = proteins[rng.integers(len(proteins))]
        room = len(tokens) - length
        if room < 0:
            continue
        start = 0 if rng.random() < START_FRACTION else int(rng.integers(room + 1))
        rows.append(tokens[start : start + length])
    return torch.from_numpy(np.stack(rows))  # (rows, length)


def corrupt(tokens: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """BERT's noise: of 15 % of the residues 80 % become ``<mask>``, 10 % another, 10 % stay."""
    special = (tokens == ALPHABET.cls_idx) | (tokens == ALPHABET.eos_idx)
    draw = torch.from_numpy(rng.random(tokens.shape))  # (rows, length)
    chosen = (draw < MASKED_FRACTION) & ~special
    action = draw / MASKED_FRACTION
    random = RESIDUES[torch.from_numpy(rng.integers(len(RESIDUES), size=tokens.shape))]
    noisy = torch.where(chosen & (action < 0.8), ALPHABET.mask_idx, tokens)
    noisy = torch.where(chosen & (action >= 0.8) & (action < 0.9), random, noisy)
    positions = chosen.flatten().nonzero().squeeze(1)  # (chosen,)
    return noisy, positions, tokens.flatten()[positions]


def masked_loss(model: ESM2, tokens: Tensor, positions: Tensor, truth: Tensor) -> Tensor:
    """Mean cross-entropy at ``positions`` of the flattened batch."""
    return F.cross_entropy(logits(model, tokens, positions), truth)


def logits(model: ESM2, tokens: Tensor, positions: Tensor) -> Tensor:
    """fair-esm's ESM-2, with fused attention and the language-model head only where it is asked for."""
    rows, length = tokens.shape
    masked = tokens == ALPHABET.mask_idx
    x = model.embed_tokens(tokens).masked_fill(masked[..., None], 0.0)  # (rows, length, width)
    x = x * (0.88 / (1 - masked.float().mean(1)))[:, None, None]
    angles = torch.outer(torch.arange(length), model.layers[0].self_attn.rot_emb.inv_freq)
    cos, sin = angles.repeat(1, 2).cos(), angles.repeat(1, 2).sin()  # (length, head_dim)
    for layer in model.layers:
        attention, h = layer.self_attn, layer.self_attn_layer_norm(x)
        q, k, v = (
            project(h).view(rows, length, HEADS, -1).transpose(1, 2)  # (rows, heads, length, head_dim)
            for project in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        mixed = F.scaled_dot_product_attention(rotate(q, cos, sin), rotate(k, cos, sin), v)
        x = x + attention.out_proj(mixed.transpose(1, 2).reshape(rows, length, WIDTH))
        x = x + layer.fc2(F.gelu(layer.fc1(layer.final_layer_norm(x))))
    x = model.emb_layer_norm_after(x).flatten(0, 1)[positions]  # (chosen, width)
    head = model.lm_head
    x = head.layer_norm(F.gelu(head.dense(x)))
    return F.linear(x, model.embed_tokens.weight, head.bias)  # (chosen, vocabulary)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    left, right = x.chunk(2, dim=-1)  # (rows, heads, length, head_dim / 2)
    return x * cos + torch.cat((-right, left), dim=-1) * sin


@torch.inference_mode()
def perplexity(model: ESM2, proteins: list[np.ndarray], batches: int = 60) -> float:
    """exp of the mean cross-entropy at ``<mask>`` over fixed random crops of ``proteins``.

    Positions that the noise left alone or replaced by a residue do not count: the model sees a
    residue there, right half of the time, and the figure would flatter it.
    """
    total, count = 0.0, 0
    for index in range(batches):
        rng = np.random.default_rng([SEED, 1_000_000, index])
        tokens, positions, truth = corrupt(sample_crops(proteins, rng), rng)
        hidden = tokens.flatten()[positions] == ALPHABET.mask_idx
        positions, truth = positions[hidden], truth[hidden]
        total += masked_loss(model, tokens, positions, truth).item() * len(positions)
        count += len(positions)
    return math.exp(total / count)


def frequency_perplexity(train: list[np.ndarray], valid: list[np.ndarray]) -> float:
    """What a model reaches that knows the amino-acid frequencies of ``train`` and nothing else."""
    counts = np.bincount(np.concatenate([t[1:-1] for t in train]), minlength=len(ALPHABET)) + 1
    log_frequency = np.log(counts / counts.sum())
    return math.exp(-log_frequency[np.concatenate([t[1:-1] for t in valid])].mean())


def restore(path: Path, model: ESM2, optimizers: list[torch.optim.Optimizer]) -> tuple[int, float]:
    if not path.exists():
        return 0, 0.0
    state = torch.load(path, weights_only=True)
    model.load_state_dict(state["model"])
    for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(saved)
    return state["step"], state["seconds"]


def save_state(
    path: Path, model: ESM2, optimizers: list[torch.optim.Optimizer], step: int, seconds: float
) -> None:
    state = {
        "model": model.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in optimizers],
        "step": step,
        "seconds": seconds,
    }
    partial = path.with_name(path.name + ".part")
    torch.save(state, partial)
    partial.replace(path)


def save_checkpoint(path: Path, model: ESM2) -> None:
    """fair-esm's ESM-2 file: fp16 weights under fairseq's names, the shape in ``cfg.model``."""
    weights = {}
    for name, tensor in model.state_dict().items():
        if name.startswith("contact_head."):
            continue  # untrained; fair-esm keeps the regression in a file of its own
        prefix = "encoder." if name.startswith("lm_head.") else "encoder.sentence_encoder."
        weights[prefix + name] = tensor.half()
    shape = argparse.Namespace(
        encoder_layers=LAYERS,
        encoder_embed_dim=WIDTH,
        encoder_attention_heads=HEADS,
        token_dropout=True,
    )
    torch.save({"cfg": {"model": shape}, "model": weights}, path)


if __name__ == "__main__":
    main()
