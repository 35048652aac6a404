"""Writes what training frameworks leave in a job directory, by running the frameworks themselves.

    python -m venv venv && venv/bin/pip install -r requirements.txt
    venv/bin/python record.py runs            # every framework, into runs/<name>/, and requirements.txt with what was used
    venv/bin/python record.py OUT mlflow ...  # only some

The folders are what a job directory would hold. Everything is tiny: a handful of steps, models of a few bytes.
"""
import importlib.metadata
import os
import shutil
import subprocess
import sys

JOB = ""


def inside(*parts):
    """A path below the job directory; its folder is made."""
    path = os.path.join(JOB, *parts)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    return path


def tensorboard():
    """Scalars in both forms that TensorBoard knows, a text that is no scalar, and folders as `add_scalars` makes them."""
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.scalar.summary_v2 import scalar_pb
    from tensorboard.summary.writer.event_file_writer import EventFileWriter
    from tensorboard.compat.proto.event_pb2 import Event

    for folder, offset in (("logs/train", 0.0), ("logs/validation", 0.5)):
        writer = EventFileWriter(inside(folder, ""))
        for step in range(5):
            writer.add_event(Event(wall_time=1_700_000_000 + step, step=step, summary=scalar_pb("epoch_loss", offset + 1 / (step + 1))))
        writer.close()
    writer = EventFileWriter(inside("logs", "plain", ""))
    for step in range(5):
        value = float("nan") if step == 3 else step / 2
        writer.add_event(Event(wall_time=1_700_000_000 + step, step=step, summary=Summary(value=[Summary.Value(tag="loss", simple_value=value)])))
    writer.close()


def tensorboardx():
    from tensorboardX import SummaryWriter

    writer = SummaryWriter(inside("runs", "first", ""))
    for step in range(10):
        writer.add_scalar("val/loss", 1 / (step + 1), step, walltime=1_700_000_000 + step)
    writer.add_scalars("both", {"left": 1.0, "right": 2.0}, 3, walltime=1_700_000_003)
    writer.add_text("note", "no scalar", 4)
    writer.add_histogram("weights", [1.0, 2.0, 3.0], 5)
    writer.add_scalar("größe mit raum", 7.0, 6, walltime=1_700_000_006)
    writer.add_scalar("negative", 1.0, -1, walltime=1_700_000_006)
    writer.close()


def safetensors():
    import numpy
    from safetensors.numpy import save_file

    whole = inside("checkpoints", "step_10", "model.safetensors")
    save_file({"weight": numpy.zeros((8, 4), dtype=numpy.float32), "bias": numpy.zeros(4, dtype=numpy.float16)}, whole, metadata={"format": "np"})
    with open(whole, "rb") as source, open(inside("checkpoints", "step_20.safetensors"), "wb") as target:
        target.write(source.read()[:-10])
    shutil.copy(whole, inside("checkpoints", "step_30.safetensors"))


def mlflow():
    os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
    import mlflow as flow

    flow.set_tracking_uri("file:" + inside("mlruns"))
    with flow.start_run(run_name="recorded"):
        for step in range(5):
            flow.log_metric("val/loss", 1 / (step + 1), step=step)
            flow.log_metrics({"accuracy": step / 10, "a key": float(step)}, step=step)
        flow.log_metric("broken", float("nan"), step=2)
        flow.log_param("lr", 0.1)
    for folder, _, _ in os.walk(inside("mlruns")):
        if os.path.basename(folder) == "tags":
            shutil.rmtree(folder)


def trackio():
    code = (
        "import trackio\n"
        "trackio.init(project='p', name='r', config={'lr': 0.1})\n"
        "for step in range(6):\n"
        "    trackio.log({'loss': float('nan') if step == 4 else 1 / (step + 1), 'val': {'acc': step / 10}})\n"
        "trackio.log({'loss': 0.01}, step=20)\n"
        "trackio.finish()\n"
    )
    environment = {**os.environ, "TRACKIO_DIR": inside("trackio"), "TRACKIO_STORAGE_MODE": "jsonl", "HF_HUB_OFFLINE": "1"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


class Dataset:
    def __init__(self, torch):
        generator = torch.Generator().manual_seed(1)
        self.rows = torch.randn(16, 4, generator=generator)

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        return self.rows[index]


def lightning():
    import lightning.pytorch as pl
    import torch
    from lightning.pytorch.callbacks import Callback, ModelCheckpoint
    from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

    class Model(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(4, 1)

        def training_step(self, batch, index):
            loss = self.layer(batch).pow(2).mean()
            self.log("train_loss", loss, on_step=True, on_epoch=False)
            if self.current_epoch > 0:
                self.log("late", float(self.current_epoch), on_step=False, on_epoch=True)
            return loss

        def validation_step(self, batch, index):
            self.log("val_loss", self.layer(batch).pow(2).mean())

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    class Snapshot(Callback):
        """Keeps the file as it was before the column `late` appeared."""

        def on_train_epoch_end(self, trainer, module):
            if trainer.current_epoch == 0:
                trainer.loggers[0].save()
                shutil.copy(os.path.join(JOB, "lightning_logs/version_0/metrics.csv"), inside("snapshots", "metrics.csv"))

    pl.seed_everything(1)
    data = torch.utils.data.DataLoader(Dataset(torch), batch_size=4)
    checkpoints = inside("checkpoints", "")
    callbacks = [
        Snapshot(),
        ModelCheckpoint(dirpath=checkpoints, monitor="val_loss", save_top_k=2, save_last="link"),
        ModelCheckpoint(dirpath=checkpoints, monitor="train_loss", save_top_k=2),
        ModelCheckpoint(dirpath=checkpoints + "copies", filename="{epoch}-{val_loss:.2f}", monitor="val_loss", mode="max", save_last=True),
    ]
    loggers = [CSVLogger(JOB, flush_logs_every_n_steps=1), TensorBoardLogger(JOB, name="tb")]
    trainer = pl.Trainer(max_epochs=3, callbacks=callbacks, logger=loggers, log_every_n_steps=2, accelerator="cpu", enable_progress_bar=False,
                         enable_model_summary=False)
    trainer.fit(Model(), data, data)


def transformers():
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments

    torch.manual_seed(1)
    config = LlamaConfig(vocab_size=16, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1, max_position_embeddings=16)
    rows = [{"input_ids": [1, 2, 3, 4], "labels": [1, 2, 3, 4]} for _ in range(8)]
    arguments = TrainingArguments(
        output_dir=inside("checkpoints"), max_steps=10, save_steps=2, save_total_limit=2, logging_steps=1, eval_strategy="steps", eval_steps=2,
        per_device_train_batch_size=2, report_to=["tensorboard"], load_best_model_at_end=True, metric_for_best_model="eval_loss", use_cpu=True,
        disable_tqdm=True)
    model = LlamaForCausalLM(config)
    Trainer(model=model, args=arguments, train_dataset=rows, eval_dataset=rows).train()
    model.save_pretrained(inside("checkpoints", "sharded"), max_shard_size="1KB")


def accelerate():
    import torch
    from accelerate import Accelerator
    from accelerate.utils import ProjectConfiguration

    settings = ProjectConfiguration(project_dir=JOB, automatic_checkpoint_naming=True, total_limit=2)
    accelerator = Accelerator(cpu=True, project_config=settings)
    model = torch.nn.Linear(2, 1)
    optimizer = torch.optim.Adam(model.parameters())
    model, optimizer = accelerator.prepare(model, optimizer)
    for _ in range(3):
        accelerator.save_state()


def plain():
    """What a training loop saves by hand, as every tutorial of PyTorch shows it."""
    import torch

    torch.manual_seed(1)
    model = torch.nn.Linear(2, 1)
    optimizer = torch.optim.Adam(model.parameters())
    for epoch in (5, 10):
        torch.save({"epoch": epoch, "model": model.state_dict(), "optimizer": optimizer.state_dict()}, inside("checkpoints", f"epoch_{epoch}.pt"))
    torch.save(model.state_dict(), inside("checkpoints", "model_500.pt"))
    torch.save(model.state_dict(), inside("checkpoints", "best.pth"))


def one_process():
    """Torch's variables for a group of one process, on this machine's processor."""
    os.environ.update(RANK="0", LOCAL_RANK="0", WORLD_SIZE="1", MASTER_ADDR="127.0.0.1", MASTER_PORT="29511")


def deepspeed():
    one_process()
    os.environ["DS_ACCELERATOR"] = "cpu"
    import deepspeed as ds
    import torch

    torch.manual_seed(1)
    model = torch.nn.Linear(4, 1)
    engine, *_ = ds.initialize(model=model, model_parameters=model.parameters(), dist_init_required=True, config={
        "train_micro_batch_size_per_gpu": 2, "zero_optimization": {"stage": 1}, "bf16": {"enabled": True},
        "zero_allow_untested_optimizer": True, "optimizer": {"type": "SGD", "params": {"lr": 0.1}},
    })
    for step in range(1, 11):
        loss = engine(torch.ones(2, 4, dtype=torch.bfloat16)).pow(2).mean()
        engine.backward(loss)
        engine.step()
        if step % 5 == 0:
            engine.save_checkpoint(inside("checkpoints"))
    for script in ("zero_to_fp32.py", "zero_to_torch.py"):
        # Its source is not ours to pass on: what counts is that it lies there.
        os.truncate(inside("checkpoints", script), 0)
    torch.distributed.destroy_process_group()


def megatron():
    """The checkpoints themselves. The trainer that names them is in no package: names and pointer are as its source has them."""
    one_process()
    import torch

    # It asks for a GPU where it would wait for one.
    torch.cuda.synchronize = lambda *_: None
    torch.cuda.current_device = lambda: "cpu"
    import megatron.core.dist_checkpointing as checkpointing

    torch.distributed.init_process_group("gloo")
    for iteration in (400, 500):
        weight = checkpointing.ShardedTensor.from_rank_offsets("weight", torch.zeros(8, 4), replica_id=0)
        state = {"model": {"weight": weight}, "iteration": iteration, "checkpoint_version": 3.0}
        checkpointing.save(state, inside("checkpoints", f"iter_{iteration:07d}", ""))
        with open(inside("checkpoints", "latest_checkpointed_iteration.txt"), "w", encoding="utf-8") as pointer:
            pointer.write(str(iteration))
    torch.distributed.destroy_process_group()


def keras():
    os.environ["KERAS_BACKEND"] = "torch"
    import keras as k
    import numpy

    model = k.Sequential([k.layers.Input((4,)), k.layers.Dense(1)])
    model.compile(optimizer="sgd", loss="mse")
    rows = numpy.ones((8, 4), dtype="float32")
    save = k.callbacks.ModelCheckpoint
    model.fit(rows, rows[:, :1], validation_split=0.5, epochs=3, verbose=0, callbacks=[
        save(inside("checkpoints", "model.{epoch:02d}-{val_loss:.2f}.keras")),
        save(inside("checkpoints", "cp-{epoch:04d}.weights.h5"), save_weights_only=True),
        save(inside("checkpoints", "best.keras"), monitor="val_loss", save_best_only=True),
    ])


def orbax():
    code = (
        "import os, sys\n"
        "import numpy, orbax.checkpoint as ocp\n"
        "options = ocp.CheckpointManagerOptions(max_to_keep=2, enable_async_checkpointing=False)\n"
        "manager = ocp.CheckpointManager(sys.argv[1], options=options)\n"
        "state = {'weight': numpy.zeros((4, 4), dtype='float32')}\n"
        "for step in (100, 200, 300):\n"
        "    manager.save(step, args=ocp.args.StandardSave(state))\n"
        "# Killed while it makes the next one final.\n"
        "from etils import epath\n"
        "for owner in type(epath.Path(sys.argv[1])).__mro__:\n"
        "    for name in ('rename', 'replace'):\n"
        "        if name in vars(owner): setattr(owner, name, lambda *_: os._exit(9))\n"
        "os.rename = os.replace = lambda *_: os._exit(9)\n"
        "manager.save(400, args=ocp.args.StandardSave(state))\n"
    )
    ended = subprocess.run([sys.executable, "-c", code, inside("checkpoints")], check=False)
    assert ended.returncode == 9, ended.returncode


RECORDERS = [tensorboard, tensorboardx, safetensors, mlflow, trackio, lightning, transformers, accelerate, plain, deepspeed, megatron, keras, orbax]
PACKAGES = ["tensorboard", "tensorboardX", "numpy", "safetensors", "mlflow-skinny", "trackio", "lightning", "transformers", "accelerate", "torch", "deepspeed",
            "megatron-core", "keras", "orbax-checkpoint"]


def main(out, names):
    global JOB
    known = {recorder.__name__: recorder for recorder in RECORDERS}
    for name in names or known:
        JOB = os.path.abspath(os.path.join(out, name))
        shutil.rmtree(JOB, ignore_errors=True)
        os.makedirs(JOB)
        known[name]()
    if not names:
        with open(os.path.join(out, "..", "requirements.txt"), "w", encoding="utf-8") as versions:
            versions.writelines(f"{name}=={importlib.metadata.version(name).partition('+')[0]}\n" for name in PACKAGES)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
