"""Loops over uWSGI's cache API in its own process: functions that a node calls as if they were of the module uwsgi."""

import os
import random
import time

import uwsgi

VALUE_BYTES = 130
KEY_BYTES = 32
LIFETIME_SEC = 300
# A key that comes no sooner, or after the one put next, does not come.
LOST_AFTER_SEC = 1.0


def random_keys(count):
    return [os.urandom(KEY_BYTES) for _ in range(count)]


def numbered_keys(series, count):
    return [number.to_bytes(4, 'little') + series[4:] for number in range(count)]


def now_ms():
    """CLOCK_MONOTONIC, the same in all processes."""
    return time.monotonic_ns() / 1e6


def bench_rates(count, cache):
    """Per second: puts of new keys, gets of them in that order, gets of them in a random one."""
    uwsgi.cache_clear(cache)
    put, get, clock = uwsgi.cache_set, uwsgi.cache_get, time.perf_counter
    keys, value = random_keys(count), os.urandom(VALUE_BYTES)
    took = []
    start = clock()
    for key in keys:
        put(key, value, LIFETIME_SEC, cache)
    took.append(clock() - start)
    for order in keys, random.sample(keys, count):
        start = clock()
        for key in order:
            get(key, cache)
        took.append(clock() - start)
    if any(get(key, cache) != value for key in keys):
        raise RuntimeError('a key was not stored')
    return [count / seconds for seconds in took]


def bench_puts(count, per_turn, pause_ms, cache):
    """Puts of new keys per second, without the pauses between turns, in which peers take their share."""
    put, clock = uwsgi.cache_set, time.perf_counter
    value = os.urandom(VALUE_BYTES)
    spent = 0
    for _ in range(0, count, per_turn):
        keys = random_keys(per_turn)
        start = clock()
        for key in keys:
            put(key, value, LIFETIME_SEC, cache)
        spent += clock() - start
        if not uwsgi.cache_exists(keys[-1], cache):
            raise RuntimeError('a key was not stored')
        time.sleep(pause_ms / 1000)
    return count / spent


def bench_paced_puts(series, count, pause_ms, cache):
    """When each of the numbered keys was put."""
    value = os.urandom(VALUE_BYTES)
    at = []
    for key in numbered_keys(series, count):
        at.append(now_ms())
        uwsgi.cache_set(key, value, LIFETIME_SEC, cache)
        time.sleep(pause_ms / 1000)
    return at


def bench_watch(series, count, cache):
    """When each of the numbered keys became visible here, looking all the time; 0 for one that did not."""
    get = uwsgi.cache_get
    keys = numbered_keys(series, count)
    at = []
    for number, key in enumerate(keys):
        successor = keys[number + 1] if number + 1 < count else key
        # The first one waits for whoever puts it.
        give_up_ms = now_ms() + 1000 * LOST_AFTER_SEC * (1 if number > 0 else 10)
        while True:
            if get(key, cache) is not None:
                at.append(now_ms())
                break
            has_been_passed = get(successor, cache) is not None and get(key, cache) is None
            if has_been_passed or now_ms() > give_up_ms:
                at.append(0)
                break
    return at


for function in bench_rates, bench_puts, bench_paced_puts, bench_watch:
    setattr(uwsgi, function.__name__, function)
