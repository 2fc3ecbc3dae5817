from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.load.inventory.ranges import HostNameError, expand, expand_host, split_port


@pytest.mark.parametrize(
    ("text", "names", "port"),
    [
        ("web", ["web"], None),
        ("web:22", ["web"], 22),
        ("web[1:3]:22", ["web1", "web2", "web3"], 22),
        ("web[08:10]", ["web08", "web09", "web10"], None),
        ("web[0:10:5]", ["web0", "web5", "web10"], None),
        ("web[:2]", ["web0", "web1", "web2"], None),
        ("web[1:05]", ["web1", "web2", "web3", "web4", "web5"], None),
        ("db-[a:c].example", ["db-a.example", "db-b.example", "db-c.example"], None),
        ("[y:B]", ["y", "z", "A", "B"], None),
        ("[1:2]-[a:b]", ["1-a", "1-b", "2-a", "2-b"], None),
        ("10.0.0.[9:10]:22", ["10.0.0.9", "10.0.0.10"], 22),
        ("2001:db8::1", ["2001:db8::1"], None),
        ("[2001:db8::1]:22", ["2001:db8::1"], 22),
        ("[2001:db8::[1:2]]:22", ["2001:db8::1", "2001:db8::2"], 22),
        ("[web]:22", ["web"], 22),
        ("ends_in_underscore_:22", ["ends_in_underscore_:22"], None),  # no host name to Ansible, so no port
        ("a name with blanks", ["a name with blanks"], None),
    ],
)
def test_a_host_pattern_is_names_and_a_port(text: str, names: list[str], port: int | None) -> None:
    assert expand_host(text) == (tuple(names), port)


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("web[5:1]", "range [5:1] counts down", "write [1:5]"),
        ("web[c:a]", "range [c:a] counts down", "write [a:c]"),
        ("web[a:3]", "range [a:3] must be two numbers or two letters", ""),
        ("web[ab:cd]", "range [ab:cd] must be two numbers or two letters", ""),
        ("web[-1:3]", "range [-1:3] must be two numbers or two letters", ""),
        ("web[01:5]", "both ends of range [01:5] must have the same number of digits", "write [01:05]"),
        ("web[01:100]", "both ends of range [01:100] must have the same number of digits", ""),
        ("web[1:]", "range [1:] has no end", ""),
        ("web[1:9:0]", "the step of range [1:9:0] must be a number from 1 up", ""),
        ("web[1:9:x]", "the step of range [1:9:x] must be a number from 1 up", ""),
        ("web[1]", "[1] is not a range", "a range is [01:20], [a:f] or [1:9:2]"),
        ("web[1:2:3:4]", "[1:2:3:4] is not a range", "a range is [01:20], [a:f] or [1:9:2]"),
        ("web[1:3", "a bracket in a host name is not closed or not opened", None),
        ("web1:3]", "a bracket in a host name is not closed or not opened", None),
        ("web[0:999999999]", "range [0:999999999] stands for 1000000000 hosts; the most is 100000", ""),
        ("[0:999]-[0:999]", "ranges stand for 1000000 hosts; the most is 100000", ""),
        ("", "a host name is empty", ""),
        ("password=s3cr3t[1:2]", "a host name cannot hold '='", "is this a variable outside of vars?"),
    ],
)
def test_a_bad_range_says_what_is_wrong_with_it(text: str, message: str, hint: str | None) -> None:
    with pytest.raises(HostNameError) as caught:
        expand_host(text)
    assert str(caught.value) == message
    if hint is not None:
        assert caught.value.hint == hint


@given(first=st.integers(0, 500), more=st.integers(0, 500), step=st.integers(1, 50), width=st.integers(0, 6))
def test_a_range_of_numbers_counts_as_python_does(first: int, more: int, step: int, width: int) -> None:
    begin, end = f"{first:0{width}}", f"{first + more:0{width}}"
    if begin.startswith("0") and begin != "0" and len(begin) != len(end):
        with pytest.raises(HostNameError):
            expand(f"web[{begin}:{end}:{step}]")
        return
    names = expand(f"web[{begin}:{end}:{step}].x")
    assert [int(name[3:-2]) for name in names] == list(range(first, first + more + 1, step))
    if begin.startswith("0") and begin != "0":
        assert {len(name) for name in names} == {len(begin) + 5}
    else:
        assert all(name == f"web{int(name[3:-2])}.x" for name in names)


@given(st.text(alphabet="ab09-_.:[]=| ", max_size=20))
def test_any_text_is_names_or_a_clear_error(text: str) -> None:
    try:
        names, port = expand_host(text)
    except HostNameError:
        return
    assert names
    assert len(set(names)) == len(names) or "[" in text
    assert port is None or split_port(text) is not None


@given(st.ip_addresses(v=6), st.integers(0, 65535))
def test_an_ipv6_address_has_a_port_only_in_brackets(address: object, port: int) -> None:
    assert expand_host(str(address)) == ((str(address),), None)
    assert expand_host(f"[{address}]:{port}") == ((str(address),), port)
