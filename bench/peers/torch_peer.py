"""The PyTorch side of `bench --peer torch`: one line of JSON in, one line out, until the input ends.

{"command": "backends", "latent": false}      -> [{"op": .., "refused"?: ..}]
{"command": "open", "op": .., shape, q, k, v} -> true        q, k, v: files of bits of the dtype, [batch, len, heads, dim]
                    .. shape, qNope, qPe, ckv, kPe           the same for absorbed MLA: [batch, 1, heads, dim] and [batch, len, dim]
{"command": "run", "calls": 1}                -> {"seconds": ..}  of one of so many calls, waited for together
{"command": "read", "out": file}              -> true             writes the bits of a call's result
An error is {"error": text}; anything else is {"answer": ..}.
"""
import json
import sys
import time

import torch
import torch.nn.functional as F

try:
    from torch.nn.attention import SDPBackend, sdpa_kernel
except ImportError:
    SDPBackend = None

BACKENDS = ["FLASH_ATTENTION", "CUDNN_ATTENTION", "EFFICIENT_ATTENTION", "MATH"]
CUDA_ONLY = {"CUDNN_ATTENTION", "EFFICIENT_ATTENTION"}
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


class Peer:
    def backends(self, question):
        if question["latent"]:
            return [{"op": "MATMUL"}]
        if SDPBackend is None:
            return [{"op": op, "refused": "needs PyTorch 2.5"} for op in BACKENDS]
        return [{"op": op, "refused": "on a GPU only"} if DEVICE == "cpu" and op in CUDA_ONLY else {"op": op} for op in BACKENDS]

    def open(self, question):
        torch.set_num_threads(question["threads"])
        dtype = getattr(torch, question["dtype"])

        def tensor(name, *shape):
            with open(question[name], "rb") as file:
                flat = torch.frombuffer(bytearray(file.read()), dtype=dtype)
            return flat.view(question["batch"], *shape).to(DEVICE)

        self.call = self.latent(question, tensor) if "kvLoraRank" in question else self.attention(question, tensor)
        return True

    def attention(self, question, tensor):
        heads, kv_heads = question["numQoHeads"], question["numKvHeads"]
        # scaled_dot_product_attention wants heads before rows: views, not copies.
        q = tensor("q", question["qoLen"], heads, question["headDimQk"]).transpose(1, 2)
        k = tensor("k", question["kvLen"], kv_heads, question["headDimQk"]).transpose(1, 2)
        v = tensor("v", question["kvLen"], kv_heads, question["headDimVo"]).transpose(1, 2)
        options = {"is_causal": question["causal"], "enable_gqa": heads != kv_heads}
        backend = getattr(SDPBackend, question["op"])

        def call():
            with sdpa_kernel(backend):
                return F.scaled_dot_product_attention(q, k, v, **options).transpose(1, 2)

        return call

    def latent(self, question, tensor):
        heads, rank, rope = question["numQoHeads"], question["kvLoraRank"], question["qkRopeHeadDim"]
        q_nope, q_pe = tensor("qNope", heads, rank), tensor("qPe", heads, rope)
        ckv, k_pe = tensor("ckv", question["kvLen"], rank), tensor("kPe", question["kvLen"], rope)
        scale = question["softmaxScale"]

        def call():
            scores = torch.baddbmm(q_nope @ ckv.transpose(1, 2), q_pe, k_pe.transpose(1, 2))
            return torch.softmax(scores.float() * scale, dim=-1).to(ckv.dtype) @ ckv

        return call

    def run(self, question):
        with torch.no_grad():
            self.synchronize()
            began = time.perf_counter()
            for _ in range(question["calls"]):
                self.call()
            self.synchronize()
            return {"seconds": (time.perf_counter() - began) / question["calls"]}

    def read(self, question):
        with torch.no_grad():
            packed = self.call().contiguous().cpu()
        bits = packed if packed.dtype == torch.float32 else packed.view(torch.int16)
        with open(question["out"], "wb") as file:
            file.write(bits.numpy().tobytes())
        return True

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
