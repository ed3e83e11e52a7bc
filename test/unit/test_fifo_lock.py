import threading

import pytest

from modules.fifo_lock import FIFOLock


def wait_until(condition):
    for _ in range(1000):
        if condition():
            return
        threading.Event().wait(0.001)
    raise AssertionError("it did not happen")


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
    assert lock.acquire(blocking=False) is True
    assert lock.acquire(blocking=False) is False
    lock.release()
    assert lock.acquire() is True


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
    assert got_it.wait(10)
    may_end.set()
    thread.join()


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
    lock.acquire()

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
