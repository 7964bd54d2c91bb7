"""What Keras, PyTorch and Hugging Face's library make of a file of ours: one JSON object on stdout.

other_libraries.py keras [FILE INPUTS]…  the outputs of each .keras file, by its path, for inputs {"shape", "dtype", "values"}
other_libraries.py tensors FILE          SHA-256 of each tensor of a safetensors file, as PyTorch has it
other_libraries.py gpt2 FOLDER INPUTS    the logits of a GPT-2
"""

import hashlib
import json
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def inputs(path):
    import numpy as np

    given = json.loads(Path(path).read_text())
    return np.array(given["values"], given["dtype"]).reshape(given["shape"])


def keras(*paths):
    from keras.models import load_model

    files = zip(paths[::2], paths[1::2], strict=True)
    return {path: load_model(path).predict(inputs(given), verbose=0).ravel().tolist() for path, given in files}


def tensors(path):
    from safetensors.torch import load_file

    return {name: hashlib.sha256(tensor.numpy().tobytes()).hexdigest() for name, tensor in load_file(path).items()}


def gpt2(folder, inputs_path):
    import torch
    from transformers import GPT2LMHeadModel

    model = GPT2LMHeadModel.from_pretrained(folder).eval()
    with torch.no_grad():
        logits = model(torch.from_numpy(inputs(inputs_path)).long()).logits
    return {folder: logits.ravel().tolist()}


json.dump({"keras": keras, "tensors": tensors, "gpt2": gpt2}[sys.argv[1]](*sys.argv[2:]), sys.stdout)
