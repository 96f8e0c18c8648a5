"""Named fault counters."""

from tinybft import faults, structure


def test_every_fault_has_a_name():
    constants = {name: getattr(faults, name) for name in dir(faults) if name.isupper()}
    del constants["NAMES"], constants["UNCHANGED"]  # the latter is no fault
    assert constants.pop("COUNT") == len(faults.NAMES)
    for name, number in constants.items():
        assert faults.NAMES[number] == name.lower()
    assert sorted(constants.values()) == list(range(1, faults.COUNT))


def test_structural_codes_are_faults_of_the_same_number():
    for code in ("LENGTH", "VERSION", "GROUP", "TYPE", "SENDER", "FIELD"):
        assert getattr(structure, "BAD_" + code) == getattr(faults, code)


def test_counting():
    counted = faults.Faults()
    assert counted.as_dict() == {} and counted.total() == 0
    counted.count(faults.MAC)
    counted.count(faults.MAC)
    counted.count(faults.RATE_LIMITED)
    assert counted.as_dict() == {"mac": 2, "rate_limited": 1}


def test_total_leaves_out_what_is_merely_of_no_use():
    counted = faults.Faults()
    for fault in range(1, faults.COUNT):
        counted.count(fault)
    assert counted.total() == faults.STALE_VIEW - 1
