"""Which lines come of which values."""

import json
import math

import pytest

from expgraph.metric_line import render_lines


def rendered(values, step=None, epoch=None, phase=None):
    result = render_lines(values, step=step, epoch=epoch, phase=phase, now=1_700_000_000.25)
    return [json.loads(line) for line in result.lines], result.faults


class Scalar:
    """Like a tensor: a number in something else."""

    def __init__(self, value):
        self.value = value

    def item(self):
        if isinstance(self.value, list):
            raise ValueError("only one element tensors can be converted to Python scalars")
        return self.value


def test_a_call_is_one_line_that_says_step_time_and_phase():
    assert rendered({"loss": 0.5}, step=7, phase="val") == (
        [{"step": 7, "time": 1_700_000_000.25, "phase": "val", "loss": 0.5}],
        [],
    )


def test_nested_names_are_joined_by_a_slash():
    assert rendered({"loss": {"kl": 1, "recon": {"l2": 2}}})[0][0].keys() == {"time", "loss/kl", "loss/recon/l2"}


def test_numbers_come_from_tensors_scalars_booleans_and_fractions():
    from decimal import Decimal
    from fractions import Fraction

    values = {"tensor": Scalar(0.5), "count": Scalar(3), "flag": True, "decimal": Decimal("0.1"), "third": Fraction(1, 4)}
    (line,), faults = rendered(values)
    del line["time"]
    assert line == {"tensor": 0.5, "count": 3, "flag": 1, "decimal": 0.1, "third": 0.25}
    assert faults == []


def test_non_finite_values_are_kept_as_the_tokens_that_the_server_reads():
    lines = render_lines({"a": math.nan, "b": math.inf, "c": -math.inf}, step=1, epoch=None, phase=None, now=0).lines
    assert lines == [b'{"step":1,"time":0,"a":NaN,"b":Infinity,"c":-Infinity}\n']


def test_an_integer_beyond_any_double_is_an_infinity():
    assert rendered({"a": 10**400})[0][0]["a"] == math.inf


@pytest.mark.parametrize("value", ["text", b"bytes", [1, 2], Scalar([1, 2]), object(), 1j, {1, 2}])
def test_what_is_no_number_costs_only_itself(value):
    (line,), faults = rendered({"loss": 1, "bad": value})
    assert line["loss"] == 1
    assert "bad" not in line
    assert len(faults) == 1
    assert "'bad' is not a number" in faults[0]


def test_none_is_left_out_without_a_word():
    assert rendered({"loss": 1, "val_loss": None})[1] == []


@pytest.mark.parametrize("key", ["", "a/", "nul\0", "\ud800", "k" * 257])
def test_a_name_that_would_cost_the_line_costs_only_itself(key):
    (line,), faults = rendered({"loss": 1, key: 2})
    assert set(line) == {"time", "loss"}
    assert len(faults) == 1


@pytest.mark.parametrize("phase", ["nul\0", "\ud800", "p" * 256])
def test_a_phase_that_would_cost_the_line_drops_the_call_and_says_so(phase):
    lines, faults = rendered({"loss": 1}, phase=phase)
    assert lines == []
    assert faults[0].endswith("the call was dropped")


def test_a_name_need_not_be_a_text_and_one_that_cannot_become_one_costs_only_itself():
    class Nameless:
        def __str__(self):
            raise RuntimeError

    (line,), faults = rendered({3: 1, (1, "a"): 2, Nameless(): 3, "nested": {0.5: 4}})
    del line["time"]
    assert line == {"3": 1, "(1, 'a')": 2, "nested/0.5": 4}
    assert faults == ["a Nameless is not a name"]


def test_names_with_spaces_slashes_and_unicode_are_kept():
    (line,), faults = rendered({"train loss": 1, "a/b": 2, "損失 🙂": 3})
    assert {"train loss", "a/b", "損失 🙂"} < set(line)
    assert faults == []


@pytest.mark.parametrize("step", [-1, 1.5, 2**53, "a", math.nan, True, pytest.param(10**5000, id="huge")])
def test_a_step_that_is_none_drops_the_call_and_says_so(step):
    lines, faults = rendered({"loss": 1}, step=step)
    assert lines == []
    assert "step must be a whole number" in faults[0]


@pytest.mark.parametrize("step", [5, 5.0, Scalar(5)])
def test_a_step_may_be_a_tensor_or_a_whole_float(step):
    assert rendered({"loss": 1}, step=step)[0][0]["step"] == 5


def test_a_call_with_more_numbers_than_a_line_takes_becomes_several_lines_of_the_same_step():
    lines, faults = rendered({f"m{index}": index for index in range(2500)}, step=3, epoch=0.5)
    assert [line["step"] for line in lines] == [3, 3, 3]
    assert sum(len(line) for line in lines) == 2500 + 3 * 3
    assert max(len(line) for line in lines) <= 1000 + 2
    assert faults == []


def test_a_measurement_called_time_does_not_take_the_place_of_the_time():
    assert rendered({"time": 0.02})[0] == [{"timestamp": 1_700_000_000.25, "time": 0.02}]


def test_step_and_phase_among_the_values_are_understood():
    assert rendered({"step": 4, "phase": "val", "loss": 1})[0][0] == {
        "step": 4, "phase": "val", "time": 1_700_000_000.25, "loss": 1,
    }


def test_a_dict_that_holds_itself_ends():
    endless = {"loss": 1}
    endless["self"] = endless
    (_line,), faults = rendered(endless)
    assert "nested more than 16 levels" in faults[0]


def test_what_is_no_dict_is_a_fault_not_an_exception():
    assert rendered(3) == ([], ["log takes a dict of names and numbers, not int"])
