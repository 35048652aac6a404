"""The logger of Lightning and the callback of transformers, driven by the real frameworks."""

import json
import os

import pytest

import expgraph

torch = pytest.importorskip("torch")


class Points(torch.utils.data.Dataset):
    def __len__(self):
        return 32

    def __getitem__(self, index):
        return torch.tensor([index / 32.0]), torch.tensor([index / 16.0])


@pytest.fixture
def in_job(job, monkeypatch):
    monkeypatch.chdir(job.path)
    return job


def test_scalars_of_numpy_and_torch_are_numbers(job, caplog):
    import numpy

    good = {
        "float16": numpy.float16(1.5), "float32": numpy.float32(0.25), "long double": numpy.longdouble("1.5"), "int64": numpy.int64(2**40),
        "bool": numpy.bool_(True), "0 dimensions": numpy.array(3), "1 element": numpy.array([2.0]), "tensor": torch.tensor(0.5),
        "bfloat16": torch.tensor(1.5, dtype=torch.bfloat16), "with gradient": torch.tensor(2.0, requires_grad=True), "true": torch.tensor(True),
    }
    bad = {"many": torch.zeros(3), "meta": torch.empty((), device="meta"), "text": numpy.str_("a"), "complex": numpy.complex64(1)}
    expgraph.log({**good, **bad}, step=numpy.int64(7))
    assert expgraph.flush(60)
    (line,) = job.lines()
    assert {name: line[name] for name in line if name != "time"} == {
        "step": 7, "float16": 1.5, "float32": 0.25, "long double": 1.5, "int64": 2**40, "bool": 1, "0 dimensions": 3, "1 element": 2.0,
        "tensor": 0.5, "bfloat16": 1.5, "with gradient": 2.0, "true": 1,
    }
    assert sum("is not a number" in record.message for record in caplog.records) == len(bad)


def test_lightning_logs_at_its_steps_and_saves_into_the_job(in_job):
    import lightning.pytorch as pl
    from lightning.pytorch.callbacks import ModelCheckpoint

    from expgraph.lightning import ExpgraphLogger

    class Model(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(1, 1)
            self.save_hyperparameters()

        def training_step(self, batch, _):
            loss = torch.nn.functional.mse_loss(self.layer(batch[0]), batch[1])
            self.log("train_loss", loss)
            return loss

        def validation_step(self, batch, _):
            self.log("val_loss", torch.nn.functional.mse_loss(self.layer(batch[0]), batch[1]))

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    loader = torch.utils.data.DataLoader(Points(), batch_size=8)
    trainer = pl.Trainer(
        max_epochs=3, logger=ExpgraphLogger(), log_every_n_steps=1, accelerator="cpu", enable_progress_bar=False, enable_model_summary=False,
        callbacks=[ModelCheckpoint(monitor="val_loss", save_top_k=2, save_last=True)],
    )
    trainer.fit(Model(), loader, loader)
    assert expgraph.flush()
    lines = in_job.lines()
    assert [line["step"] for line in lines if "train_loss" in line] == list(range(12))
    validations = {line["step"]: line["val_loss"] for line in lines if "val_loss" in line}
    assert len(validations) == 3
    names = sorted(os.listdir(in_job.path / "checkpoints"))
    assert "last.ckpt" in names and any(name.startswith("epoch=2-step=12") for name in names)
    records = in_job.lines("checkpoints.jsonl")
    assert {record["path"] for record in records} >= {f"checkpoints/{name}" for name in names}
    best = [record for record in records if "best" in record.get("aliases", [])][-1]
    assert best["step"] == 12
    assert best["metrics"]["val_loss"] == pytest.approx(min(validations.values()))


def test_lightning_stops_orderly_on_sigterm_though_we_watch_for_it(in_job):
    # Its own handler is composed with ours, which then leaves the end to Lightning.
    ended = in_job.run("""
        import os, signal, torch, lightning.pytorch as pl, expgraph
        from expgraph.lightning import ExpgraphLogger
        from lightning.pytorch.demos.boring_classes import BoringModel
        expgraph.log({"before": 1}, step=0)
        class Stopped(pl.Callback):
            def on_train_batch_end(self, trainer, *_):
                if trainer.global_step == 3: os.kill(os.getpid(), signal.SIGTERM)
            def on_exception(self, trainer, module, error): print("told", type(error).__name__, flush=True)
        trainer = pl.Trainer(max_epochs=2, logger=ExpgraphLogger(), accelerator="cpu", log_every_n_steps=1, callbacks=[Stopped()],
                             enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False)
        trainer.fit(BoringModel())
    """, check=False, timeout=120)
    assert "told SIGTERMException" in ended.stdout, ended.stderr


def test_transformers_logs_and_records_its_checkpoints(in_job):
    from transformers import PretrainedConfig, PreTrainedModel, Trainer, TrainingArguments

    from expgraph.transformers import ExpgraphCallback

    class Model(PreTrainedModel):
        config_class = PretrainedConfig

        def __init__(self, config):
            super().__init__(config)
            self.layer = torch.nn.Linear(1, 1)
            self.post_init()

        def forward(self, x, labels):
            outputs = self.layer(x)
            return {"loss": torch.nn.functional.mse_loss(outputs, labels), "logits": outputs}

        def _init_weights(self, module):
            pass

    rows = [{"x": x, "labels": y} for x, y in (Points()[index] for index in range(32))]
    arguments = TrainingArguments(
        output_dir=expgraph.this_job().checkpoints_directory, num_train_epochs=2, per_device_train_batch_size=8, logging_steps=1,
        eval_strategy="epoch", save_strategy="epoch", report_to=[], use_cpu=True, disable_tqdm=True, metric_for_best_model="eval_loss",
        load_best_model_at_end=True,
    )
    trainer = Trainer(model=Model(PretrainedConfig()), args=arguments, train_dataset=rows, eval_dataset=rows, callbacks=[ExpgraphCallback()])
    trainer.train()
    assert expgraph.flush()
    lines = in_job.lines()
    assert [line["step"] for line in lines if "train/loss" in line][:8] == list(range(1, 9))
    evaluated = {line["step"]: line["eval/loss"] for line in lines if "eval/loss" in line}
    assert sorted(evaluated) == [4, 8]
    records = in_job.lines("checkpoints.jsonl")
    assert [(record["path"], record["step"], record["epoch"]) for record in records] == [
        ("checkpoints/checkpoint-4", 4, 1.0), ("checkpoints/checkpoint-8", 8, 2.0),
    ]
    assert records[1]["metrics"]["eval/loss"] == pytest.approx(evaluated[8])
    assert records[1]["aliases"] == ["best"]
    assert json.loads((in_job.path / "checkpoints/checkpoint-8/trainer_state.json").read_text())["global_step"] == 8
