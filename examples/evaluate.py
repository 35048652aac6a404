#!/usr/bin/env python3
"""Loads a checkpoint that train.py wrote and prints its accuracy on the validation set: `evaluate.py CHECKPOINT`."""
import argparse

from train import evaluate, load_checkpoint, make_data


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", help="for example .../checkpoints/last.json")
    state = load_checkpoint(parser.parse_args().checkpoint)
    loss, accuracy = evaluate(state["weights"], make_data(state["config"])[1])
    print("accuracy=%.4f loss=%.6f epoch=%d step=%d" % (accuracy, loss, state["epoch"], state["step"]))


if __name__ == "__main__":
    main()
