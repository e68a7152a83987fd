"""Train the reader of `mobile-question-answering` and write its files. `mobile_models.py` says how to run it.

A small BERT (Devlin et al. 2018, arXiv 1810.04805) with what makes MobileBERT quick (Sun et al. 2020,
arXiv 2004.02984): ReLU in place of GELU, and at run time no normalisation, since that of training is by batch
and folds into the layers behind it. Heads look near by what ALiBi adds to their scores (Press et al. 2021,
arXiv 2108.12409). It learns on paragraphs of two facts first, then of more.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import tensorflow as tf
import torch
from mobile_models import IR_VERSION, OPSET, write_onnx, write_tflite
from mobile_training import report
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn
from torch.nn import functional

from gnomon.tasks.mobile.generated_questions import LENGTH, Question, generated, vocabulary
from gnomon.tasks.mobile.question_answering import MobileQuestionAnswering
from gnomon.tasks.mobile.wordpieces import model_row

WIDTH, HEADS, LAYERS, INNER = 64, 4, 3, 128
DEPTH = WIDTH // HEADS
SLOPES = (1.0, 0.5, 0.25, 0.0)
"""Of each head: by how much a score falls with each token of distance."""
FARTHEST = 8.0
"""The most that distance, or padding, takes from a score: int8 needs a narrow range."""
INPUTS = ("ids", "mask", "segments")
OUTPUTS = ("end", "start")

STAGES = ((2, 24_000), (4, 12_000), (6, 40_000))
"""Most facts in a paragraph, and how many paragraphs."""
TRAINING_SEED = 1
BATCH = 64
HIGHEST_RATE = 3e-3
LONGEST_STEP = 1.0
ALIKE = 1.6
"""By how much keys are larger at first; queries begin equal to keys, so that tokens look at their like."""
SENTENCE_WEIGHT = 3.0
"""Of the loss that asks which sentence has the answer, which only training has."""
NOT_IN_PARAGRAPH = -30.0
CALIBRATED_ON = 256

Arrays = Mapping[str, NDArray[np.float32]]


class ByBatch(nn.BatchNorm1d):
    """Batch normalisation of (n, length, width)."""

    def forward(self, value: Tensor) -> Tensor:
        """All tokens alike."""
        return super().forward(value.flatten(0, 1)).view(value.shape)


class Block(nn.Module):
    """Attention and two dense layers, each added to what they are given."""

    def __init__(self) -> None:
        super().__init__()
        self.attend_norm, self.dense_norm = ByBatch(WIDTH), ByBatch(WIDTH)
        self.heads = nn.Linear(WIDTH, 3 * WIDTH)
        self.joined = nn.Linear(WIDTH, WIDTH)
        self.wide = nn.Linear(WIDTH, INNER)
        self.narrow = nn.Linear(INNER, WIDTH)
        with torch.no_grad():
            queries, keys, _ = self.heads.weight.view(3, WIDTH, WIDTH)
            queries.copy_(keys.mul_(ALIKE))
            self.heads.bias.zero_()

    def forward(self, value: Tensor, added: Tensor) -> Tensor:
        """Tokens, (n, length, width), and what is added to scores, (n, heads, length, length)."""
        count, length, _ = value.shape
        parts = self.heads(self.attend_norm(value)).view(count, length, 3, HEADS, DEPTH)
        queries, keys, values = parts.permute(2, 0, 3, 1, 4)
        scores = queries @ keys.transpose(2, 3) / DEPTH**0.5 + added
        seen = (scores.softmax(dim=3) @ values).transpose(1, 2).reshape(count, length, WIDTH)
        value = value + self.joined(seen)
        return value + self.narrow(self.wide(self.dense_norm(value)).relu())


class Reader(nn.Module):
    """Token ids, mask and segments to logits of ends and of starts."""

    near: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(len(vocabulary()), WIDTH)
        self.segments = nn.Embedding(2, WIDTH)
        self.places = nn.Parameter(waves())
        nn.init.normal_(self.words.weight, std=0.5)
        nn.init.normal_(self.segments.weight, std=0.3)
        place = torch.arange(LENGTH)
        distance = (place[:, None] - place).abs() * torch.tensor(SLOPES)[:, None, None]
        self.register_buffer("near", -distance.clamp(max=FARTHEST))
        self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
        self.norm = ByBatch(WIDTH)
        self.limits = nn.Linear(WIDTH, len(OUTPUTS))
        self.sentence = nn.Linear(WIDTH, 1)

    def forward(self, ids: Tensor, mask: Tensor, segments: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits of ends, of starts, and of being in the sentence that answers; (n, length) each."""
        length = ids.shape[1]
        value = self.words(ids) + self.segments(segments) + self.places[:length]
        padding = (mask.float() - 1) * FARTHEST
        added = padding[:, None, None] + self.near[:, :length, :length]
        for block in self.blocks:
            value = block(value, added)
        value = self.norm(value)
        ends, starts = self.limits(value).unbind(dim=2)
        return ends, starts, self.sentence(value)[..., 0]


def waves() -> Tensor:
    """What stands for a place in the text at first: sines of many lengths, as Vaswani et al. 2017 have it."""
    pace = torch.exp(-torch.arange(0, WIDTH, 2) / WIDTH * np.log(100.0))
    angle = torch.arange(LENGTH)[:, None] * pace
    return 0.5 * torch.stack([angle.sin(), angle.cos()], dim=2).view(LENGTH, WIDTH)


def arrays_of(questions: list[Question]) -> tuple[Tensor, Tensor, Tensor]:
    """Model rows (n, 3, 64), places of the answer's last and first token (n, 2), its sentence (n, 64)."""
    rows = np.stack([model_row(question.feature, vocabulary(), LENGTH) for question in questions])
    limits = np.zeros((len(questions), len(OUTPUTS)), dtype=np.int64)
    sentence = np.zeros((len(questions), LENGTH), dtype=np.float32)
    for number, question in enumerate(questions):
        first = question.feature.paragraph_start
        tokens = np.array(question.feature.tokens[first:-1])
        words = np.array(question.feature.word_of_token)
        within = (words >= question.first) & (words <= question.last) & (tokens != ".")
        answer = np.flatnonzero(within)
        limits[number] = first + answer[-1], first + answer[0]
        stops_before = np.cumsum(tokens == ".") - (tokens == ".")
        sentence[number, first : first + len(tokens)] = stops_before == stops_before[answer[0]]
    return torch.from_numpy(rows), torch.from_numpy(limits), torch.from_numpy(sentence)


def train() -> Reader:
    """The same weights on every run of one machine."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = Reader()
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=HIGHEST_RATE, betas=(0.9, 0.98), weight_decay=0.01
    )
    steps = sum(count // BATCH for _, count in STAGES)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, HIGHEST_RATE, steps, pct_start=0.1)
    began = time.perf_counter()
    for stage, (facts, count) in enumerate(STAGES):
        questions = generated(count, TRAINING_SEED + stage, held_out=False, most_facts=facts)
        rows, limits, sentence = arrays_of(questions)
        losses = []
        for chosen in torch.randperm(count)[: count // BATCH * BATCH].split(BATCH):
            length = int(rows[chosen, 1].sum(dim=1).max())
            some, right = rows[chosen, :, :length], limits[chosen]
            ends, starts, stated = model(*some.unbind(dim=1))
            outside = (1 - some[:, 2]) * NOT_IN_PARAGRAPH
            loss = functional.cross_entropy(ends + outside, right[:, 0])
            loss = loss + functional.cross_entropy(starts + outside, right[:, 1])
            losses.append(loss.item())
            told = functional.binary_cross_entropy_with_logits(
                stated, sentence[chosen, :length], weight=some[:, 2].float()
            )
            optimizer.zero_grad()
            (loss + SENTENCE_WEIGHT * told).backward()
            nn.utils.clip_grad_norm_(model.parameters(), LONGEST_STEP)
            optimizer.step()
            schedule.step()
        passed = time.perf_counter() - began
        last = np.mean(losses[-100:])
        print(f"{facts} facts: loss {last:.3f} at the end, {passed:.0f} s", flush=True)
    return model.eval()


def folded(model: Reader) -> dict[str, NDArray[np.float32]]:
    """Weights by name with batch normalisation and the scale of scores in them; matrices as (in, out)."""
    arrays: dict[str, NDArray[np.float32]] = {
        "words.table": model.words.weight.detach().numpy(),
        "segments.table": model.segments.weight.detach().numpy(),
        "places": model.places.detach().numpy(),
        "padding.table": np.array([-FARTHEST, 0], dtype=np.float32),
        "near": model.near.numpy()[None],
    }

    def keep(name: str, dense: nn.Linear, norm: nn.BatchNorm1d | None = None) -> None:
        weight, bias = dense.weight.detach().double(), dense.bias.detach().double()
        if norm is not None:
            slope = norm.weight.detach().double() / torch.sqrt(norm.running_var.double() + norm.eps)
            shift = norm.bias.detach().double() - norm.running_mean.double() * slope
            weight, bias = weight * slope, bias + weight @ shift
        arrays[f"{name}.weight"] = weight.T.float().contiguous().numpy()
        arrays[f"{name}.bias"] = bias.float().numpy()

    for number, block in enumerate(model.blocks):
        assert isinstance(block, Block)
        keep(f"{number}.heads", block.heads, block.attend_norm)
        for part in ("weight", "bias"):
            arrays[f"{number}.heads.{part}"][..., :WIDTH] /= DEPTH**0.5
        keep(f"{number}.joined", block.joined)
        keep(f"{number}.wide", block.wide, block.dense_norm)
        keep(f"{number}.narrow", block.narrow)
    keep("limits", model.limits, model.norm)
    return arrays


def onnx_reader(arrays: Arrays) -> onnx.ModelProto:
    """The folded weights as an ONNX graph of any batch size."""
    nodes: list[onnx.NodeProto] = []
    held = [numpy_helper.from_array(value, name) for name, value in arrays.items()]

    def constant(name: str, value: NDArray[Any]) -> str:
        held.append(numpy_helper.from_array(value, name))
        return name

    def node(kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def dense(name: str, value: str) -> str:
        product = node("MatMul", [value, f"{name}.weight"], f"{name}.product")
        return node("Add", [product, f"{name}.bias"], name)

    split = constant("split", np.array([0, 0, 3 * HEADS, DEPTH], dtype=np.int64))
    joined = constant("join", np.array([0, 0, WIDTH], dtype=np.int64))
    thirds = constant("thirds", np.array([HEADS] * 3, dtype=np.int64))
    node("Gather", ["words.table", "ids"], "word")
    node("Gather", ["segments.table", "segments"], "segment")
    node("Add", ["word", "segment"], "token")
    value = node("Add", ["token", "places"], "placed")
    node("Gather", ["padding.table", "mask"], "padding")
    node("Unsqueeze", ["padding", constant("axes", np.array([1, 2]))], "padding.spread")
    added = node("Add", ["padding.spread", "near"], "added")
    for block in range(LAYERS):
        heads = dense(f"{block}.heads", value)
        node("Reshape", [heads, split], f"{block}.split")
        node("Transpose", [f"{block}.split"], f"{block}.turned", perm=[0, 2, 1, 3])
        parts = [f"{block}.{part}" for part in ("queries", "keys", "values")]
        nodes.append(
            helper.make_node(
                "Split", [f"{block}.turned", thirds], parts, name=f"{block}.parts", axis=1
            )
        )
        queries, keys, values = parts
        node("Transpose", [keys], f"{keys}.turned", perm=[0, 1, 3, 2])
        node("MatMul", [queries, f"{keys}.turned"], f"{block}.likeness")
        node("Add", [f"{block}.likeness", added], f"{block}.scores")
        node("Softmax", [f"{block}.scores"], f"{block}.shares", axis=-1)
        node("MatMul", [f"{block}.shares", values], f"{block}.seen")
        node("Transpose", [f"{block}.seen"], f"{block}.back", perm=[0, 2, 1, 3])
        node("Reshape", [f"{block}.back", joined], f"{block}.all")
        attended = dense(f"{block}.joined", f"{block}.all")
        value = node("Add", [value, attended], f"{block}.attended")
        wide = node("Relu", [dense(f"{block}.wide", value)], f"{block}.rectified")
        value = node("Add", [value, dense(f"{block}.narrow", wide)], f"{block}.out")
    limits = dense("limits", value)
    halves = constant("halves", np.array([1, 1], dtype=np.int64))
    wide_names = [f"{name}.wide" for name in OUTPUTS]
    nodes.append(helper.make_node("Split", [limits, halves], wide_names, name="ends", axis=2))
    last = constant("last", np.array([2]))
    for name in OUTPUTS:
        node("Squeeze", [f"{name}.wide", last], name)
    graph = helper.make_graph(
        nodes,
        "gnomon",
        [helper.make_tensor_value_info(name, TensorProto.INT32, ["n", LENGTH]) for name in INPUTS],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", LENGTH]) for name in OUTPUTS],
        held,
    )
    opset = [helper.make_opsetid("", OPSET)]
    return helper.make_model(
        graph, opset_imports=opset, producer_name="gnomon", ir_version=IR_VERSION
    )


def tensorflow_reader(arrays: Arrays) -> Any:
    """The folded weights as a TensorFlow function of batch 1, which the LiteRT converter takes."""

    def dense(name: str, value: Any) -> Any:
        return tf.matmul(value, arrays[f"{name}.weight"]) + arrays[f"{name}.bias"]

    def read(ids: Any, mask: Any, segments: Any) -> list[Any]:
        value = tf.gather(arrays["words.table"], tf.reshape(ids, [LENGTH]))
        value += tf.gather(arrays["segments.table"], tf.reshape(segments, [LENGTH]))
        value += arrays["places"]
        added = tf.gather(arrays["padding.table"], mask) + arrays["near"][0]
        for block in range(LAYERS):
            parts = tf.reshape(dense(f"{block}.heads", value), [LENGTH, 3 * HEADS, DEPTH])
            queries, keys, values = tf.split(tf.transpose(parts, [1, 0, 2]), 3)
            shares = tf.nn.softmax(tf.matmul(queries, keys, transpose_b=True) + added)
            seen = tf.transpose(tf.matmul(shares, values), [1, 0, 2])
            value += dense(f"{block}.joined", tf.reshape(seen, [LENGTH, WIDTH]))
            value += dense(f"{block}.narrow", tf.nn.relu(dense(f"{block}.wide", value)))
        limits = tf.reshape(dense("limits", value), [1, LENGTH, len(OUTPUTS)])
        return [limits[..., place] for place in range(len(OUTPUTS))]

    entries = [tf.TensorSpec((1, LENGTH), tf.int32, name) for name in INPUTS]
    return tf.function(read).get_concrete_function(*entries)


def main() -> None:
    arrays = folded(train())
    stem = MobileQuestionAnswering.stem
    facts, _ = STAGES[-1]
    rows, _, _ = arrays_of(generated(CALIBRATED_ON, TRAINING_SEED + len(STAGES), False, facts))
    feeds = [dict(zip(INPUTS, (part[None] for part in row), strict=True)) for row in rows.numpy()]
    write_onnx(stem, onnx_reader(arrays), feeds, operators=["MatMul"])
    write_tflite(stem, tensorflow_reader(arrays), [list(feed.values()) for feed in feeds])
    report(MobileQuestionAnswering())


if __name__ == "__main__":
    main()
