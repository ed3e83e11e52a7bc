"""The journal of the process: opened once, whoever asks first."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from modules import call_queue, jobs
from modules.job.queue import JobQueue


def test_first_requests_at_once_open_one_journal(tmp_path, monkeypatch):
    monkeypatch.setattr(jobs, "FOLDER", str(tmp_path))
    monkeypatch.setattr(jobs, "_open", [])
    monkeypatch.setattr(call_queue, "queue", JobQueue())
    together = Barrier(30)
    with ThreadPoolExecutor(30) as clients:
        journals = list(clients.map(lambda _: together.wait() is not None and jobs.journal(), range(30)))
    assert len(set(map(id, journals))) == 1
    assert jobs.journal() is journals[0] and len(call_queue.queue.listeners) == 1
    jobs.close()
    assert not call_queue.queue.listeners
