"""Averages of each look's own: what they change, and how they are measured."""

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import nn
from training_runs import Workshop

from train.__main__ import main
from train.checkpoints import (
    CheckpointError,
    checkpoint_notes,
    load_checkpoint,
    save_checkpoint,
)
from train.fitting.config import ConfigError
from train.fitting.norms import measure_norms
from train.fitting.state import initial_network
from train.network import HarmonizerNet, NetworkConfig
from train.registry import Config, build_network
from train.s2crnet import S2CRNet, S2CRNetConfig

LOOKS = NetworkConfig(encoder=None, statistics=True, looks=2)
STAGES = S2CRNetConfig(statistics=True, encoder_size=32)


def averages(norm: nn.BatchNorm1d) -> dict[str, torch.Tensor]:
    """`running_mean` and `running_var`, which are optional to a type checker."""
    return norm.state_dict()


def norms_of(network: HarmonizerNet | S2CRNet) -> list[nn.BatchNorm1d]:
    assert network.statistics is not None
    assert isinstance(network.statistics.normalize, nn.ModuleList)
    return [norm for norm in network.statistics.normalize if isinstance(norm, nn.BatchNorm1d)]


def trained(config: Config) -> HarmonizerNet | S2CRNet:
    """A network whose averages are somewhere."""
    torch.manual_seed(0)
    network = build_network(config)
    assert network.statistics is not None
    norm = network.statistics.normalize
    assert isinstance(norm, nn.BatchNorm1d)
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2)
    return network.eval()


@pytest.mark.parametrize("config", [LOOKS, STAGES], ids=["harmonizer", "s2crnet"])
def test_initial_network_with_own_norms_begins_where_the_shared_one_ended(
    workshop: Workshop, tmp_path: Path, config: Config
) -> None:
    save_checkpoint(shared := trained(config), tmp_path / "a.safetensors")
    own = dataclasses.replace(config, own_norms=True)
    run = workshop.config(network=own, loss="final", init=str(tmp_path / "a.safetensors"))
    grown = initial_network(run).eval()
    assert len(norms_of(grown)) == 2
    composite, mask = torch.rand(2, 3, 64, 64), torch.zeros(2, 1, 64, 64)
    mask[..., 8:40, 8:40] = 1
    arguments = [n.predict_arguments(composite, mask) for n in (shared, grown)]
    assert torch.equal(*arguments)
    averages(norms_of(grown)[1])["running_mean"].fill_(3.0)
    assert not torch.equal(grown.predict_arguments(composite, mask), arguments[0])
    save_checkpoint(grown, tmp_path / "b.safetensors")
    assert load_checkpoint(tmp_path / "b.safetensors").config == own


def test_initial_network_new_looks_get_the_last_one_s_averages(
    workshop: Workshop, tmp_path: Path
) -> None:
    own = dataclasses.replace(LOOKS, own_norms=True)
    source = build_network(own)
    averages(norms_of(source)[1])["running_mean"].fill_(2.0)
    save_checkpoint(source, path := tmp_path / "a.safetensors")
    more = dataclasses.replace(own, looks=4)
    grown = initial_network(workshop.config(network=more, init=str(path)))
    means = [averages(norm)["running_mean"].mean().item() for norm in norms_of(grown)]
    assert means == [0.0, 2.0, 2.0, 2.0]
    with pytest.raises(CheckpointError, match=r"this run's network one for all\. Give --own-norms"):
        initial_network(workshop.config(network=LOOKS, init=str(path)))


@pytest.mark.parametrize("config", [LOOKS, STAGES], ids=["harmonizer", "s2crnet"])
def test_measure_norms_gives_each_look_what_it_reads(workshop: Workshop, config: Config) -> None:
    """In use, over the batches that were measured, every look's input then is normalised."""
    network = trained(config)
    run = workshop.config(network=config, loss="final")
    measured = measure_norms(network, run, 3)
    weights = measured.state_dict()
    for name, tensor in network.state_dict().items():
        if not name.startswith("statistics.normalize."):
            assert torch.equal(weights[name], tensor)
    first, second = norms_of(measured)
    assert not torch.equal(averages(first)["running_mean"], averages(second)["running_mean"])
    assert first.num_batches_tracked == second.num_batches_tracked == 3
    if config is LOOKS:
        # Nothing is drawn before the first look: the arguments that it reads are 0.
        drawn = [averages(norm)["running_mean"][-len(LOOKS.filters) :] for norm in (first, second)]
        assert not drawn[0].any() and drawn[1].all()
    again = measure_norms(network, run, 3)
    assert torch.equal(averages(norms_of(again)[1])["running_var"], averages(second)["running_var"])
    assert not measured.training


def test_norms_of_a_network_of_one_look_are_refused(workshop: Workshop) -> None:
    network = trained(NetworkConfig(encoder=None, statistics=True))
    with pytest.raises(ConfigError, match=r"more than one look; got 1\..*nothing to measure"):
        measure_norms(network, workshop.config(), 1)
    with pytest.raises(ValueError, match="more than one stage; got 1"):
        S2CRNetConfig(stages=1, statistics=True, own_norms=True)


def test_norms_command_writes_a_checkpoint(
    workshop: Workshop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_checkpoint(trained(LOOKS), tmp_path / "a.safetensors", {"step": 7})
    new = tmp_path / "new.safetensors"
    words = ["norms", tmp_path / "a.safetensors", "--output", new, "--steps", 1]
    words += [*workshop.places(), "--batch", 4, "--size", 64]
    assert main([str(word) for word in words]) == 0
    assert capsys.readouterr().out == f"{new}\n"
    assert load_checkpoint(new).config == dataclasses.replace(LOOKS, own_norms=True)
    assert checkpoint_notes(new) == {"step": 7, "norms": 4}
    assert checkpoint_notes(Path(__file__)) == {}
    assert main([str(word) for word in [*words[:5], 0, *words[6:]]]) == 2
    assert "--steps: must be a whole number of at least 1; got '0'" in capsys.readouterr().err
    assert main([str(word) for word in [*words[:5], "x", *words[6:]]]) == 2
    assert "at least 1; got 'x'" in capsys.readouterr().err
    assert main([str(word) for word in ["norms", new, "--output", new, *words[4:]]]) == 2
    assert "would replace an input" in capsys.readouterr().err
    elsewhere = ["norms", "absent", "--output", tmp_path / "y.txt", "--steps", 1]
    assert main([str(word) for word in elsewhere]) == 2
    assert "--output must end in .safetensors; got" in capsys.readouterr().err
