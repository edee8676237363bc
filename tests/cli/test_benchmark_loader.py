"""The measurement of the loader alone."""

import os

import torch

from fast_style.cli.benchmark.loader import measure_loader

CASES = ["memory map", "source", "packed .zip", "packed .npz", "procedural"]


def test_every_source_is_measured_as_often_and_nothing_is_left_changed() -> None:
    threads, affinity = torch.get_num_threads(), os.sched_getaffinity(0)
    rates = measure_loader(size=32, batch=2, seconds=0.01, rounds=2)
    by_worker = [f"{name} by worker" for name in CASES[1:4]]
    assert sorted(rates) == sorted(CASES + by_worker)
    assert {len(each) for each in rates.values()} == {2}
    assert min(map(min, rates.values())) > 0
    assert (torch.get_num_threads(), os.sched_getaffinity(0)) == (threads, affinity)
