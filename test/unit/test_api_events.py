"""Events of jobs: in order, to all who listen, taken up again, on a real server."""

import asyncio
import http.client
import json

import pytest

from modules.api.events import KEPT, MOST_WAITING, RESYNC, Events
from modules.job.row import Row, State

SECONDS = 60


def row(id, state=State.QUEUED):
    return Row(id, "txt2img", state)


def ids_of(texts):
    return [json.loads(text.partition("data: ")[2])["id"] for text in texts if text.startswith("id: ")]


async def take(stream, count):
    return [await asyncio.wait_for(anext(stream), SECONDS) for _ in range(count)]


def test_all_who_listen_hear_the_same_in_order():
    async def listen():
        events = Events()
        streams = [events.follow() for _ in range(100)]
        await asyncio.gather(*(take(stream, 1) for stream in streams))
        for number in range(5):
            await asyncio.to_thread(events.changed, row(str(number)))
        return [ids_of(texts) for texts in await asyncio.gather(*(take(stream, 5) for stream in streams))]

    assert asyncio.run(listen()) == [["0", "1", "2", "3", "4"]] * 100


def test_a_listener_takes_up_where_it_was():
    async def listen():
        events = Events()
        for number in range(5):
            events.changed(row(str(number)))
        first = events.follow(f"{events._run}-0")
        heard = await take(first, 5)
        last = heard[2].splitlines()[0].removeprefix("id: ")
        again = await take(events.follow(last), 2)
        return ids_of(heard), ids_of(again)

    assert asyncio.run(listen()) == (["0", "1", "2", "3", "4"], ["3", "4"])


@pytest.mark.parametrize("last_id", ["", "other-3", "nonsense", "{run}-x", "{run}-1", "{run}-" + "9" * 5000])
def test_whoever_has_missed_events_reads_everything_anew(last_id):
    async def listen():
        events = Events()
        for number in range(KEPT + 10):
            events.changed(row(str(number)))
        return await take(events.follow(last_id.format(run=events._run)), 1)

    assert asyncio.run(listen()) == [RESYNC]


def test_a_slow_listener_costs_no_memory_and_is_told():
    async def listen():
        events = Events()
        stream = events.follow()
        await take(stream, 1)
        for number in range(MOST_WAITING + 10):
            events.changed(row(str(number)))
        await asyncio.sleep(0)
        heard = await take(stream, 1)
        events.changed(row("last"))
        await asyncio.sleep(0)
        return heard + await take(stream, 1)

    first, second = asyncio.run(listen())
    assert first == RESYNC and ids_of([second]) == ["last"]


def read_event(file):
    """The next event that is not a comment: its name and its data."""
    lines = []
    while True:
        line = file.readline().decode().rstrip("\n")
        if line:
            lines.append(line)
        elif lines and not lines[0].startswith(":"):
            fields = dict(line.split(": ", 1) for line in lines)
            return fields["event"], json.loads(fields["data"])
        else:
            lines = []


def test_a_client_watches_a_job_over_http(running):
    listening = http.client.HTTPConnection("127.0.0.1", running.port, timeout=SECONDS)
    listening.request("GET", "/serena/v1/events")
    answer = listening.getresponse()
    assert answer.status == 200 and answer.headers["Content-Type"].startswith("text/event-stream")
    assert answer.readline() == b": welcome\n"
    asking = http.client.HTTPConnection("127.0.0.1", running.port, timeout=SECONDS)
    body = {"prompt": "red apple", "width": 64, "height": 64, "steps": 30}
    asking.request(
        "POST",
        "/serena/v1/jobs",
        json.dumps({"kind": "txt2img", "request": body}),
        {"Content-Type": "application/json"},
    )
    job = json.loads(asking.getresponse().read())
    heard = []
    while not heard or heard[-1] != ("job", "done"):
        name, data = read_event(answer)
        assert data["id"] == job["id"]
        heard.append((name, data.get("state")))
    assert [state for name, state in heard if name == "job"] == ["queued", "running", "running", "done"]
    listening.close()
    asking.close()


def test_a_user_of_the_page_hears_of_the_own_jobs_alone():
    async def listen():
        events = Events()
        for user in ("ann", "bob", None):
            events.changed(Row(f"old {user}", "txt2img", user=user))
        stream = events.follow(f"{events._run}-0", only="bob")
        heard = await take(stream, 1)
        for user in ("ann", "bob"):
            events.changed(Row(f"new {user}", "txt2img", user=user))
        await asyncio.sleep(0)
        return ids_of(heard + await take(stream, 1))

    assert asyncio.run(listen()) == ["old bob", "new bob"]
