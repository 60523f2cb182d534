"""What the estimators give under the states into which a caller can bring torch.

A state is set in a process of its own, so that none outlives its test.
"""

import json
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch
from fair_esm_oracle import FAMILIES
from torch.nn.attention import SDPBackend, sdpa_kernel

from sklearn_esm import ESMContactTransformer, ESMEmbeddingTransformer, ESMLikelihoodTransformer

SEQUENCES = ["MKTAYIAKQRQISFVKS", "KA<mask>ISQ", "GLDALQITV"]
ALONE = SEQUENCES[:1]  # one sequence is not divided among threads
LAYERS_READ = [0, 1, -1]
METHODS = ["pseudo-perplexity", "log-likelihood"]
WITH_CONTACTS = [family for family in FAMILIES if family != "esm1v"]
OUTPUTS = {"float32": "elc", "bfloat16": "elc", "int8": "e"}


def outputs(folder):
    """Embeddings, likelihoods and contacts of every family and dtype, by their names."""
    found = {}
    for family in FAMILIES:
        path = Path(folder) / f"{family}.pt"
        for dtype, some in OUTPUTS.items():
            settings = {"dtype": dtype, "device": "cpu", "cache": None}
            estimators = {
                "embeddings": ESMEmbeddingTransformer(path, layer=LAYERS_READ, **settings),
                "likelihoods": ESMLikelihoodTransformer(path, method=METHODS, **settings),
                "contacts": ESMContactTransformer(path, **settings),
            }
            if family not in WITH_CONTACTS:
                del estimators["contacts"]
            for output, estimator in estimators.items():
                if output[0] not in some:
                    continue
                for kind, sequences in {"together": SEQUENCES, "alone": ALONE}.items():
                    result = estimator.fit_transform(sequences)
                    if output == "contacts":
                        result = np.concatenate([contacts.ravel() for contacts in result])
                    found[f"{family} {dtype} {output} {kind}"] = result
    return found


_entered = ExitStack()  # what is entered is never left


def _set_what_changes_speed():
    # what torch.use_deterministic_algorithms does after importing the compiler, for three seconds
    torch._C._set_deterministic_algorithms(True)
    torch.set_flush_denormal(True)
    torch.set_float32_matmul_precision("medium")
    torch.backends.quantized.engine = "qnnpack"


AS_IT_STARTS = "as it starts"
STATES = {
    AS_IT_STARTS: lambda: None,
    "autocast": lambda: _entered.enter_context(torch.autocast("cpu", dtype=torch.bfloat16)),
    "inference mode": lambda: _entered.enter_context(torch.inference_mode()),
    "without gradients": lambda: torch.set_grad_enabled(False),
    "float64 by default": lambda: torch.set_default_dtype(torch.float64),
    "another default device": lambda: torch.set_default_device("meta"),
    "what changes speed": _set_what_changes_speed,
    "without oneDNN": lambda: setattr(torch.backends.mkldnn, "enabled", False),
    "attention by formula": lambda: _entered.enter_context(sdpa_kernel(SDPBackend.MATH)),
    "no attention on CPUs": lambda: _entered.enter_context(sdpa_kernel(SDPBackend.CUDNN_ATTENTION)),
    "three threads in a thread": lambda: torch.set_num_threads(3),
}
IN_A_THREAD = ["three threads in a thread"]


def state():
    """What of torch's state a caller can notice in this thread, as JSON takes it."""
    try:
        precision = torch.get_float32_matmul_precision()
    except RuntimeError:  # different for each library
        precision = None
    cuda = torch.backends.cuda
    return {
        "autocast": [torch.is_autocast_enabled(device) for device in ("cpu", "cuda", "mps")],
        "autocast dtype": str(torch.get_autocast_dtype("cpu")),
        "default dtype": str(torch.get_default_dtype()),
        "default device": str(torch.get_default_device()),
        "gradients": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "precision": precision,
        "precisions": [
            library.fp32_precision
            for library in (torch.backends, cuda.matmul, torch.backends.mkldnn.matmul)
        ],
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "denormal numbers": bool(np.float32(1e-40) * np.float32(0.5) > 0),
        "threads": torch.get_num_threads(),
        "oneDNN": torch.backends.mkldnn.enabled,
        "attention": [
            cuda.flash_sdp_enabled(),
            cuda.mem_efficient_sdp_enabled(),
            cuda.math_sdp_enabled(),
            cuda.cudnn_sdp_enabled(),
        ],
    }


def outputs_of_a_new_process(run, name, folder, path):
    """The outputs of a new process in a state, and its state before and after."""
    code = "import sys, torch_states; torch_states.save_outputs(*sys.argv[1:])"
    done = run(code, name, folder, path)
    assert done.returncode == 0, done.stderr
    with np.load(path, allow_pickle=False) as arrays:
        results = dict(arrays)
    states = json.loads(str(results.pop("states")))
    return results, *states


def save_outputs(name, folder, path):
    """Set a state, and save what ``outputs_of_a_new_process`` returns."""

    def save():
        STATES[name]()
        before = state()
        results = outputs(folder)
        np.savez(path, states=json.dumps([before, state()]), **results)

    warnings.simplefilter("error")
    if name not in IN_A_THREAD:
        save()
        return
    former = state()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(save).result()
    assert state() == former
