import pytest

from benchmarks.load import LoadError, read_h2load, read_wrk

WRK = """\
Running 1s test @ http://127.0.0.1:8000/
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.71ms  350.00us  12.00ms   91.00%
    Req/Sec    13.05k     1.20k   15.00k    70.00%
  Latency Distribution
     50%    1.50ms
     75%    2.00ms
     90%  950.00us
     99%    1.20s
  13049 requests in 1.10s, 1.80MB read
Requests/sec:  11862.72
Transfer/sec:      1.64MB
"""

H2LOAD = """\
finished in 250.50ms, 16000.00 req/s, 1.20MB/s
requests: 4 total, 4 started, 4 done, 4 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 4 2xx, 0 3xx, 0 4xx, 0 5xx
"""
LOG = "1700000000\t200\t100\n1700000000\t200\t200\n1700000000\t200\t300\n1700000000\t200\t400\n"


def test_what_wrk_printed_is_read_in_its_units() -> None:
    result = read_wrk(WRK)
    assert result.requests == 13049
    assert result.seconds == pytest.approx(1.1)
    assert result.latency_p50 == pytest.approx(1500)
    assert result.latency_p99 == pytest.approx(1_200_000)


@pytest.mark.parametrize(
    "line",
    [
        "  Non-2xx or 3xx responses: 7",
        "  Socket errors: connect 0, read 7, write 0, timeout 0",
    ],
)
def test_a_load_of_which_requests_failed_is_no_measurement(line: str) -> None:
    with pytest.raises(LoadError, match=r"responses: 7|read 7"):
        read_wrk(WRK + line + "\n")


def test_an_end_that_was_not_announced_is_no_failure_where_connections_are_closed() -> None:
    line = "  Socket errors: connect 0, read 7, write 0, timeout 0\n"
    assert read_wrk(WRK + line, closes=True) == read_wrk(WRK)
    for other in (line.replace("timeout 0", "timeout 1"), "  Non-2xx or 3xx responses: 7\n"):
        with pytest.raises(LoadError):
            read_wrk(WRK + other, closes=True)


def test_a_load_without_an_answer_is_no_measurement() -> None:
    with pytest.raises(LoadError, match="not one request"):
        read_wrk("  0 requests in 1.00s, 0.00B read\n")


def test_what_h2load_printed_is_read_with_its_log() -> None:
    burst = read_h2load(H2LOAD, LOG)
    assert burst.latencies == [100, 200, 300, 400]
    assert burst.seconds == pytest.approx(0.2505)


@pytest.mark.parametrize(
    ("printed", "log"),
    [
        (H2LOAD.replace("4 succeeded", "3 succeeded"), LOG),
        (H2LOAD, LOG.replace("200\t400", "503\t400")),
        (H2LOAD, LOG + "1700000000\t200\t500\n"),
        (H2LOAD, ""),
        ("", ""),
    ],
    ids=["not all succeeded", "another status", "the log has more", "no log", "nothing"],
)
def test_every_request_must_have_its_200(printed: str, log: str) -> None:
    with pytest.raises(LoadError, match="h2load"):
        read_h2load(printed, log)
