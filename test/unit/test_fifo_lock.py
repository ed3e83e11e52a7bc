import threading

import pytest

from modules.fifo_lock import FIFOLock


def wait_until(condition):
    for _ in range(1000):
        if condition():
            return
        threading.Event().wait(0.001)
    raise AssertionError("it did not happen")


def elsewhere(call):
    """What a call returns in another thread."""
    results = []
    thread = threading.Thread(target=lambda: results.append(call()))
    thread.start()
    thread.join()
    return results[0]


def test_lock_goes_to_waiting_threads_in_order():
    lock = FIFOLock()
    order = []

    def work(number):
        with lock:
            order.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    with lock:
        for number, thread in enumerate(threads):
            thread.start()
            wait_until(lambda expected=number + 1: len(lock._waiting) == expected)
    for thread in threads:
        thread.join()
    assert order == list(range(8))
    assert not lock.locked()


def test_acquire_without_blocking():
    lock = FIFOLock()
    assert lock.acquire(blocking=False) is True and lock.is_own()
    assert elsewhere(lambda: lock.acquire(blocking=False)) is False
    lock.release()
    assert elsewhere(lambda: lock.acquire(blocking=False)) is True and not lock.is_own()


def test_release_hands_over_so_that_nobody_can_jump_the_queue():
    lock = FIFOLock()
    lock.acquire()
    got_it, may_end = threading.Event(), threading.Event()

    def work():
        with lock:
            got_it.set()
            may_end.wait()

    thread = threading.Thread(target=work)
    thread.start()
    wait_until(lambda: lock._waiting)
    lock.release()
    assert lock.acquire(blocking=False) is False
    assert not lock.is_own()
    assert got_it.wait(10)
    may_end.set()
    thread.join()


def test_who_has_the_lock_gets_it_again_and_releases_it_as_often():
    lock = FIFOLock()
    with lock, lock:
        lock.acquire(blocking=False)
        assert elsewhere(lambda: lock.acquire(blocking=False)) is False
        lock.release()
    assert not lock.locked() and not lock.is_own()


def test_a_lock_is_given_back_at_once_unless_it_was_lost():
    lock = FIFOLock()
    lock.acquire()
    lock.acquire()
    lock.give_back()
    assert not lock.locked()
    lock.acquire()
    elsewhere(lock.release)
    assert not lock._lock.locked()
    lock.give_back()
    assert elsewhere(lock.acquire) is True
    lock.give_back()
    assert lock.locked(), "it is the other's"


def test_release_of_a_free_lock_is_an_error():
    with pytest.raises(RuntimeError):
        FIFOLock().release()


def test_lock_is_released_after_an_exception():
    lock = FIFOLock()
    with pytest.raises(ValueError), lock:
        raise ValueError
    assert not lock.locked()


@pytest.mark.parametrize("is_its_turn", [False, True])
def test_waiting_that_is_interrupted_loses_no_turn(monkeypatch, is_its_turn):
    lock = FIFOLock()
    elsewhere(lock.acquire)

    class InterruptedEvent(threading.Event):
        def wait(self, timeout=None):
            if is_its_turn:
                lock.release()
            raise KeyboardInterrupt

    monkeypatch.setattr("modules.fifo_lock.threading.Event", InterruptedEvent)
    with pytest.raises(KeyboardInterrupt):
        lock.acquire()
    assert not lock._waiting
    assert lock.locked() is not is_its_turn
