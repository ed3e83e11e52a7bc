"""Clients' own servers are told when their jobs are over: which addresses may be called, how a call is signed, how
often it is tried; on a real server of this test."""

import base64
import hashlib
import hmac
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from modules import jobs, shared
from modules.api import outgoing, webhooks
from modules.errors import InvalidInput
from modules.job.row import Row, State

SECONDS = 60
SECRET = "between us"
JOBS = "/serena/v1/jobs"
SMALL = {"prompt": "red apple", "width": 64, "height": 64, "steps": 1, "save_images": False}


class Receiver(BaseHTTPRequestHandler):
    """Notes what it is sent, and answers with the next status it was told."""

    def do_POST(self):
        content = self.rfile.read(int(self.headers["content-length"]))
        self.server.calls.append((self.path, dict(self.headers), content))
        self.send_response(self.server.statuses.pop(0) if self.server.statuses else 204)
        self.end_headers()

    def log_message(self, *args):
        """Says nothing."""


@pytest.fixture
def user_settings(monkeypatch):
    """user_settings(name=value, ...) sets settings for all threads, for one test."""

    def apply(**values):
        for name, value in values.items():
            monkeypatch.setitem(shared.opts.data, name, value)

    return apply


@pytest.fixture(scope="module")
def serving():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def receiver(serving, monkeypatch, user_settings):
    """A server under a public name, so that calls reach this computer, which no setting allows."""
    serving.calls, serving.statuses = [], []
    monkeypatch.setattr(outgoing, "resolve", lambda address, seconds: ["127.0.0.1"])
    monkeypatch.setattr(outgoing, "is_public", lambda number: True)
    monkeypatch.setattr(webhooks, "WAITS", (0.01, 0.02))
    user_settings(jobs_webhook_hosts="hooks.example", jobs_webhook_secret=SECRET)
    serving.address = f"http://hooks.example:{serving.server_port}/done"
    return serving


def wait_for(condition):
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def over(address, state=State.DONE):
    """The row of a job that is over, and whose webhook has not been called."""
    store = jobs.journal().store
    row = store.add(Row("task(told)", "txt2img", webhook=address, submitted=time.time()), None)
    store.update(row.number, state=state, ended=12.5)
    return row.number


def told(number):
    """The row once nothing more is to be called."""
    found = []

    def is_told():
        found[:] = [row for row in jobs.journal().store.find()[0] if row.number == number]
        return found[0].webhook_due is None

    wait_for(is_told)
    return found[0]


def test_a_client_is_told_with_a_signature(client, receiver):
    answer = client.post(JOBS, json={"kind": "txt2img", "request": SMALL, "webhook": receiver.address})
    assert answer.status_code == 202 and answer.json()["webhook"] == receiver.address
    wait_for(lambda: receiver.calls)
    path, headers, content = receiver.calls[0]
    headers = {name.lower(): value for name, value in headers.items()}
    said = json.loads(content)
    assert (path, said["type"], said["data"]["state"], said["data"]["images"]) == ("/done", "job.done", "done", 1)
    assert said["data"]["id"] == answer.json()["id"] and said["timestamp"].endswith("+00:00")
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + content
    expected = base64.b64encode(hmac.new(SECRET.encode(), signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}" and headers["content-type"] == "application/json"
    assert abs(int(headers["webhook-timestamp"]) - time.time()) < SECONDS


def test_a_call_that_fails_is_tried_again_with_the_same_id(receiver):
    receiver.statuses = [500, 302]
    number = over(receiver.address, State.FAILED)
    webhooks.Webhooks().wake()  # as after a restart: the row says what is due
    row = told(number)
    assert (row.webhook_tries, row.webhook_error) == (2, None)
    assert len({headers["webhook-id"] for _, headers, _ in receiver.calls}) == 1 and len(receiver.calls) == 3


@pytest.mark.parametrize(("status", "calls"), [(500, 3), (410, 1)])
def test_it_is_given_up_in_the_end(receiver, caplog, status, calls):
    receiver.statuses = [status] * 9
    number = over(receiver.address)
    webhooks.Webhooks().wake()
    row = told(number)
    assert str(status) in row.webhook_error and len(receiver.calls) == calls and "given up" in caplog.text


def test_a_server_that_is_not_there_is_tried_again(receiver):
    number = over("http://hooks.example:1/")
    webhooks.Webhooks().wake()
    row = told(number)
    assert row.webhook_tries == 3 and "does not answer" in row.webhook_error


@pytest.mark.parametrize("number", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "fd00::1"])
def test_a_name_that_leads_home_is_not_called(serving, monkeypatch, user_settings, number):
    serving.calls = []
    user_settings(jobs_webhook_hosts="hooks.example", jobs_webhook_secret=SECRET)
    monkeypatch.setattr(outgoing, "resolve", lambda address, seconds: ["8.8.8.8", number])
    row = over(f"http://hooks.example:{serving.server_port}/")
    webhooks.Webhooks().wake()
    assert "not on the public Internet" in told(row).webhook_error and serving.calls == []


def test_a_host_that_was_taken_off_the_list_is_not_called(receiver, user_settings):
    number = over(receiver.address)
    user_settings(jobs_webhook_hosts="other.example")
    webhooks.Webhooks().wake()
    assert "jobs_webhook_hosts" in told(number).webhook_error and receiver.calls == []


@pytest.mark.parametrize(
    ("hosts", "url", "reason"),
    [
        ("", "https://hooks.example/", "jobs_webhook_hosts"),
        ("hooks.example", "https://hooks.example.org/", "jobs_webhook_hosts"),
        ("*.hooks.example", "https://hooks.example/", "jobs_webhook_hosts"),
        ("*.hooks.example", "https://nohooks.example/", "jobs_webhook_hosts"),
        ("127.0.0.1", "http://127.0.0.1/", "public"),
        ("::1", "http://[::1]/", "public"),
        ("hooks.example", "ftp://hooks.example/", "plain"),
        ("hooks.example", "https://user@hooks.example/", "plain"),
        ("hooks.example", "hooks.example", "plain"),
    ],
)
def test_what_may_not_be_called_is_refused_at_once(client, user_settings, hosts, url, reason):
    user_settings(jobs_webhook_hosts=hosts, jobs_webhook_secret=SECRET)
    before = client.get(JOBS).json()["total"]
    answer = client.post(JOBS, json={"kind": "txt2img", "request": SMALL, "webhook": url})
    assert (answer.status_code, answer.json()["field"]) == (422, "webhook") and reason in answer.json()["detail"]
    assert client.get(JOBS).json()["total"] == before


def test_hosts_are_listed_by_name_or_by_what_they_are_below(user_settings):
    user_settings(jobs_webhook_hosts=" Hooks.example , *.example.org", jobs_webhook_secret=SECRET)
    for url in ("https://HOOKS.example./a?b", "http://a.b.example.org:8080/"):
        assert webhooks.checked(url) == url
    user_settings(jobs_webhook_secret="")
    with pytest.raises(InvalidInput, match="jobs_webhook_secret"):
        webhooks.checked("https://hooks.example/")


def test_the_secret_stays_secret(client, user_settings):
    user_settings(jobs_webhook_secret=SECRET)
    assert SECRET not in client.get("/sdapi/v1/options").text
    client.post("/sdapi/v1/options", json={"jobs_webhook_secret": "<hidden>"})
    assert shared.opts.jobs_webhook_secret == SECRET
