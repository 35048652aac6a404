#!/usr/bin/env python3
"""A small but real training run: a multi-layer perceptron learns to tell three noisy rings apart.

Python's standard library only (3.8 or newer), so that it runs on any node. Configuration: the JSON file named by
--config or $EXPGRAPH_CONFIG, then `key=value` arguments with dotted keys (`optim.lr=0.1`), over the defaults below.

It shows all that a trainer does to be tracked: a JSON line for each step in metrics.jsonl, checkpoints that appear whole
or not at all, a result.json at the end, and going on from the checkpoint in $EXPGRAPH_RESUME_CHECKPOINT.
"""
import argparse
import json
import math
import os
import random
import sys
import time

DEFAULTS = {
    "seed": 0,  # initial weights and the order of the examples
    "data.seed": 1234,  # the data set itself: the same for all runs that are to be compared
    "data.noise": 0.12,
    "data.train_size": 3000,
    "data.val_size": 300,
    "model.hidden": 16,
    "optim.lr": 0.1,
    "optim.momentum": 0.9,
    "train.batch_size": 20,
    "train.epochs": 20,
}
CLASSES = 3


class Diverged(Exception):
    """The loss is no longer a number; going on would waste the allocation."""


def flatten(tree, prefix=""):
    """{"optim": {"lr": 1}} -> {"optim.lr": 1}; keys that are dotted already stay as they are."""
    flat = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat.update(flatten(value, prefix + key + "."))
        else:
            flat[prefix + key] = value
    return flat


def parse_override(text):
    """`optim.lr=0.1` -> ("optim.lr", 0.1)."""
    key, separator, value = text.partition("=")
    if not separator:
        raise SystemExit("train.py: %r is not key=value" % text)
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value


def load_config(path, overrides):
    """Defaults, then the file, then the overrides. A key nobody knows is an error: it is most likely a typing mistake."""
    given = {}
    if path:
        with open(path, encoding="utf-8") as file:
            given.update(flatten(json.load(file)))
    given.update(parse_override(text) for text in overrides)
    unknown = sorted(set(given) - set(DEFAULTS))
    if unknown:
        raise SystemExit("train.py: unknown key %s; known keys: %s" % (", ".join(unknown), ", ".join(DEFAULTS)))
    for key, value in given.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise SystemExit("train.py: %s must be a finite number, not %r" % (key, value))
        if isinstance(DEFAULTS[key], int) and value != int(value):
            raise SystemExit("train.py: %s must be a whole number, not %r" % (key, value))
    config = dict(DEFAULTS)
    config.update(given)
    return config


def make_rings(size, noise, rng):
    """Points (x, y, class) on three rings around the origin, blurred by Gaussian noise."""
    points = []
    for index in range(size):
        label = index % CLASSES
        angle = rng.uniform(0, 2 * math.pi)
        radius = 0.5 * (label + 1)
        points.append((radius * math.cos(angle) + rng.gauss(0, noise), radius * math.sin(angle) + rng.gauss(0, noise), label))
    return points


def make_data(config):
    """The training and the validation set: functions of the data keys of the configuration alone."""
    rng = random.Random(config["data.seed"])
    train = make_rings(config["data.train_size"], config["data.noise"], rng)
    return train, make_rings(config["data.val_size"], config["data.noise"], rng)


def new_weights(config):
    """Rows of [w_x, w_y, bias] for the hidden units, rows of [w_1 .. w_n, bias] for the classes (He initialisation)."""
    rng = random.Random(config["seed"])
    hidden = config["model.hidden"]
    first = [[rng.gauss(0, 1), rng.gauss(0, 1), rng.uniform(-1, 1)] for _ in range(hidden)]
    second = [[rng.gauss(0, math.sqrt(2 / hidden)) for _ in range(hidden)] + [0.0] for _ in range(CLASSES)]
    return [first, second]


def zeros_like(weights):
    return [[[0.0] * len(row) for row in layer] for layer in weights]


def forward(weights, x, y):
    """Hidden activations and class probabilities for one point."""
    first, second = weights
    hidden = [max(0.0, wx * x + wy * y + bias) for wx, wy, bias in first]
    inputs = hidden + [1.0]
    scores = [sum([w * h for w, h in zip(row, inputs)]) for row in second]
    top = max(scores)
    exponentials = [math.exp(score - top) for score in scores]
    total = sum(exponentials)
    return inputs, [value / total for value in exponentials]


def loss_of(probability):
    return math.nan if math.isnan(probability) else -math.log(max(probability, 1e-300))


def gradient(weights, batch):
    """Mean cross-entropy over the batch and its gradient."""
    grads = zeros_like(weights)
    grad_first, grad_second = grads
    second = weights[1]
    loss = 0.0
    for x, y, label in batch:
        inputs, probabilities = forward(weights, x, y)
        loss += loss_of(probabilities[label])
        errors = [p - (1.0 if k == label else 0.0) for k, p in enumerate(probabilities)]
        for error, row in zip(errors, grad_second):
            for index, value in enumerate(inputs):
                row[index] += error * value
        e0, e1, e2 = errors
        for index, row in enumerate(grad_first):
            if inputs[index] > 0.0:
                back = e0 * second[0][index] + e1 * second[1][index] + e2 * second[2][index]
                row[0] += back * x
                row[1] += back * y
                row[2] += back
    return loss / len(batch), grads


def sgd_step(weights, velocity, grads, config, batch_size):
    """Momentum SGD, in place."""
    rate, momentum = config["optim.lr"] / batch_size, config["optim.momentum"]
    for layer, layer_velocity, layer_grads in zip(weights, velocity, grads):
        for row, row_velocity, row_grads in zip(layer, layer_velocity, layer_grads):
            for index, slope in enumerate(row_grads):
                row_velocity[index] = momentum * row_velocity[index] - rate * slope
                row[index] += row_velocity[index]


def evaluate(weights, points):
    """Mean loss and accuracy."""
    loss, right = 0.0, 0
    for x, y, label in points:
        probabilities = forward(weights, x, y)[1]
        loss += loss_of(probabilities[label])
        right += probabilities[label] == max(probabilities)
    return loss / len(points), right / len(points)


def write_json(path, content):
    """Writes the file whole or not at all: whoever lists the directory never sees half a checkpoint under its name."""
    temporary = os.path.join(os.path.dirname(path), ".writing-" + os.path.basename(path))
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def save_checkpoint(directory, state):
    """Writes `epoch=E-step=S.json` and points `last.json` at it."""
    name = "epoch=%d-step=%d.json" % (state["epoch"], state["step"])
    path = os.path.join(directory, name)
    write_json(path, state)
    link = os.path.join(directory, ".writing-last")
    if os.path.lexists(link):
        os.remove(link)
    os.symlink(name, link)
    os.replace(link, os.path.join(directory, "last.json"))
    return path


def load_checkpoint(path):
    """The state that save_checkpoint wrote."""
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def first_state(config):
    weights = new_weights(config)
    return {"epoch": 0, "step": 0, "weights": weights, "velocity": zeros_like(weights), "config": config}


def train_epoch(state, train, config, metrics):
    """One pass over the training set. The order depends on seed and epoch alone, so a resumed run repeats it exactly."""
    order = list(train)
    random.Random("%d/%d" % (config["seed"], state["epoch"])).shuffle(order)
    size = config["train.batch_size"]
    for start in range(0, len(order), size):
        batch = order[start:start + size]
        loss, grads = gradient(state["weights"], batch)
        state["step"] += 1
        metrics.log(state["step"], state["epoch"], "train", loss=loss)
        if not math.isfinite(loss):
            raise Diverged("loss is %s at step %d: try a smaller optim.lr (it is %g)" % (loss, state["step"], config["optim.lr"]))
        sgd_step(state["weights"], state["velocity"], grads, config, len(batch))
    state["epoch"] += 1


def run(config, metrics, checkpoints, resume):
    """Trains to the last epoch, validating and saving after each. Returns the final metrics and the last checkpoint."""
    train, val = make_data(config)
    state = load_checkpoint(resume) if resume else first_state(config)
    if resume:
        print("resumed from %s (epoch %d, step %d)" % (resume, state["epoch"], state["step"]), flush=True)
    loss, accuracy = evaluate(state["weights"], val)
    path = resume
    while state["epoch"] < config["train.epochs"]:
        train_epoch(state, train, config, metrics)
        loss, accuracy = evaluate(state["weights"], val)
        metrics.log(state["step"], state["epoch"], "val", loss=loss, accuracy=accuracy)
        path = save_checkpoint(checkpoints, state)
        print("epoch %d: val loss %.4f, accuracy %.3f" % (state["epoch"], loss, accuracy), flush=True)
    return {"val/loss": loss, "val/accuracy": accuracy}, path


class MetricsFile:
    """metrics.jsonl: a JSON object a line, on disk as soon as it is written."""

    def __init__(self, path):
        self.file = open(path, "a", buffering=1, encoding="utf-8")

    def log(self, step, epoch, phase, **values):
        line = {"step": step, "epoch": epoch, "time": time.time(), "phase": phase}
        line.update(values)
        self.file.write(json.dumps(line) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="known keys: " + ", ".join(DEFAULTS))
    parser.add_argument("--config", default=os.environ.get("EXPGRAPH_CONFIG"), help="JSON file (default: $EXPGRAPH_CONFIG)")
    parser.add_argument("--out", default=os.environ.get("EXPGRAPH_JOB_DIR", "run"), help="directory to write to (default: $EXPGRAPH_JOB_DIR or ./run)")
    arguments = parser.parse_args()
    config = load_config(arguments.config, arguments.overrides)
    out = os.path.abspath(arguments.out)
    checkpoints = os.environ.get("EXPGRAPH_CHECKPOINTS_DIR") or os.path.join(out, "checkpoints")
    os.makedirs(checkpoints, exist_ok=True)
    metrics = MetricsFile(os.environ.get("EXPGRAPH_METRICS") or os.path.join(out, "metrics.jsonl"))
    try:
        final, checkpoint = run(config, metrics, checkpoints, os.environ.get("EXPGRAPH_RESUME_CHECKPOINT"))
    except Diverged as error:
        sys.exit("train.py: diverged: %s" % error)
    write_json(os.path.join(out, "result.json"), {"metrics": final, "artifacts": {"checkpoint": checkpoint}})


if __name__ == "__main__":
    main()
