"""A server with dialled timing and faults, against which a benchmark client is proven.

    with Server(Dials(ttft_ms=50, gap_ms=5)) as server:
        ...  # POST to f"{server.address}/v1/chat/completions"

It speaks OpenAI chat and completions, llama.cpp's native completion and Ollama's native API. Every chunk that holds a
token says when the schedule wanted it (`due_ns`) and when it was sent (`sent_ns`, both on `time.perf_counter_ns`, which
processes of one machine share), so a client's own error (read - sent) and the mock's (sent - due) are told apart.
"""

from infertui.mock.dials import FAULTS, Dials, dial, sentences
from infertui.mock.reply import WIDE_WORDS, WORDS, words
from infertui.mock.server import Server

__all__ = ["FAULTS", "WIDE_WORDS", "WORDS", "Dials", "Server", "dial", "sentences", "words"]
