"""The PyTorch side of `bench --peer torch`: one line of JSON in, one line out, until the input ends.

{"command": "backends"}                       -> [{"op": .., "refused"?: ..}]
{"command": "open", "op": .., shape, q, k, v} -> true        q, k, v: bits of the dtype in base64, [batch, len, heads, dim]
{"command": "run", "read": false}             -> {"seconds": ..}, or with "read": true {"out": ..} in base64
An error is {"error": text}; anything else is {"answer": ..}.
"""
import base64
import json
import sys
import time

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

BACKENDS = {
    "FLASH_ATTENTION": SDPBackend.FLASH_ATTENTION,
    "CUDNN_ATTENTION": SDPBackend.CUDNN_ATTENTION,
    "EFFICIENT_ATTENTION": SDPBackend.EFFICIENT_ATTENTION,
    "MATH": SDPBackend.MATH,
}
CUDA_ONLY = {"CUDNN_ATTENTION", "EFFICIENT_ATTENTION"}
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


class Peer:
    def backends(self, _):
        return [{"op": op, "refused": "on a GPU only"} if DEVICE == "cpu" and op in CUDA_ONLY else {"op": op} for op in BACKENDS]

    def open(self, question):
        torch.set_num_threads(question["threads"])
        dtype = getattr(torch, question["dtype"])
        batch, heads, kv_heads = question["batch"], question["numQoHeads"], question["numKvHeads"]

        def tensor(bits, length, count, dim):
            flat = torch.frombuffer(bytearray(base64.b64decode(bits)), dtype=dtype)
            # scaled_dot_product_attention wants heads before rows: a view, not a copy.
            return flat.view(batch, length, count, dim).to(DEVICE).transpose(1, 2)

        self.q = tensor(question["q"], question["qoLen"], heads, question["headDimQk"])
        self.k = tensor(question["k"], question["kvLen"], kv_heads, question["headDimQk"])
        self.v = tensor(question["v"], question["kvLen"], kv_heads, question["headDimVo"])
        self.options = {"is_causal": question["causal"], "enable_gqa": heads != kv_heads}
        self.backend = BACKENDS[question["op"]]
        return True

    def run(self, question):
        with torch.no_grad(), sdpa_kernel(self.backend):
            self.synchronize()
            began = time.perf_counter()
            out = F.scaled_dot_product_attention(self.q, self.k, self.v, **self.options)
            self.synchronize()
            seconds = time.perf_counter() - began
        if not question["read"]:
            return {"seconds": seconds}
        packed = out.transpose(1, 2).contiguous().cpu()
        bits = packed if packed.dtype == torch.float32 else packed.view(torch.int16)
        return {"out": base64.b64encode(bits.numpy().tobytes()).decode()}

    def synchronize(self):
        if DEVICE == "cuda":
            torch.cuda.synchronize()


def main():
    if "--version" in sys.argv:
        print(torch.__version__)
        return
    peer = Peer()
    for line in sys.stdin:
        question = json.loads(line)
        try:
            answer = {"answer": getattr(peer, question["command"])(question)}
        except Exception as error:  # whatever it is, the asker has to know
            answer = {"error": f"{type(error).__name__}: {error}".split("\n")[0]}
        print(json.dumps(answer), flush=True)


main()
