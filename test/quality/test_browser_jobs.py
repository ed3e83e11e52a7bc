"""The panel of jobs in a browser: what waits and runs, the history, and what its buttons do."""

import time
import urllib.request
from urllib.parse import quote

import pytest

JOBS = "/serena/v1/jobs"
LONG = {"width": 64, "height": 64, "steps": 150, "n_iter": 100}


@pytest.fixture
def busy(page_server):
    """A job that runs for as long as the test; whatever is in the queue at its end is taken out."""
    job = page_server.request(JOBS, {"kind": "txt2img", "request": LONG | {"prompt": "the long one"}})
    wait_for(lambda: page_server.request(f"{JOBS}/{quote(job['id'])}")["state"] == "running")
    yield job
    for waiting in (*listed(page_server, "queued", "held"), job):
        request = urllib.request.Request(f"{page_server.url}{JOBS}/{quote(waiting['id'])}", method="DELETE")
        urllib.request.urlopen(request).close()
    wait_for(lambda: not listed(page_server, "running", "queued", "held"))


def wait_for(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


def listed(page_server, *states):
    return page_server.request(f"{JOBS}?{'&'.join(f'state={state}' for state in states)}")["jobs"]


@pytest.fixture
def panel(site):
    """The open panel, a small job in the form, nothing in the queue."""
    site.small()
    site.page.click("#jobs_button")
    yield site.page.locator("#jobs_panel")
    if site.page.locator("#jobs_panel").is_visible():
        site.page.locator(".jobs-close").click()


def show(panel, view):
    panel.locator(f".jobs-tab[data-view={view}]").click()


def row(panel, text):
    return panel.locator(".jobs-row", has_text=text).first


def test_a_click_runs_through_the_queue_into_the_history(site, panel):
    show(panel, "live")
    site.prompt().fill("red apple of the panel")
    site.page.evaluate("document.querySelector('#txt2img_generate').click()")
    show(panel, "over")
    made = row(panel, "red apple of the panel")
    made.locator(".jobs-state", has_text="Done").wait_for()
    picture = made.locator("img")
    picture.wait_for()
    assert site.picture(picture.evaluate("image => image.src")).size == (64, 64)


def test_waiting_jobs_are_counted_put_first_and_cancelled(site, panel, page_server):
    long = {"prompt": "long", "width": 64, "height": 64, "steps": 150, "n_iter": 100}
    jobs = [
        page_server.request("/serena/v1/jobs", {"kind": "txt2img", "request": long | {"prompt": name}})
        for name in ("the running", "the second", "the third")
    ]
    assert len(jobs) == 3
    show(panel, "live")
    row(panel, "the running").locator("progress").wait_for()
    row(panel, "the third").get_by_text("Waiting, number 2").wait_for()
    row(panel, "the third").get_by_role("button", name="First").click()
    row(panel, "the third").get_by_text("Waiting, number 1").wait_for()
    for name in ("the second", "the third", "the running"):
        row(panel, name).get_by_role("button", name="Cancel").click()
        row(panel, name).wait_for(state="detached")
    panel.get_by_text("Nothing waits").wait_for()
    site.page.wait_for_function("document.querySelector('.jobs-count').hidden")


def test_the_history_is_searched_and_fills_the_form(site, panel, page_server):
    body = {"prompt": "a banana to be found", "width": 72, "height": 64, "steps": 1, "seed": 77}
    page_server.request("/sdapi/v1/txt2img", body)
    show(panel, "over")
    panel.locator(".jobs-search").fill("no such job")
    panel.get_by_text("No job has all these words").wait_for()
    panel.locator(".jobs-search").fill("BANANA found")
    made = row(panel, "a banana to be found")
    made.wait_for()
    assert panel.locator(".jobs-row").count() == 1
    made.get_by_role("button", name="Again").press("Escape")
    site.page.wait_for_selector("#jobs_panel", state="hidden")
    site.page.click("#jobs_button")
    made.get_by_role("button", name="To the form").click()
    site.page.wait_for_function("document.querySelector('#txt2img_seed input').value === '77'")
    assert site.prompt().input_value() == "a banana to be found"
    site.page.click("#jobs_button")
    panel.locator(".jobs-search").fill("")


def test_a_job_is_made_again_from_the_history(site, panel, page_server):
    page_server.request("/sdapi/v1/txt2img", {"prompt": "plum", "width": 64, "height": 64, "steps": 1, "seed": 5})
    show(panel, "over")
    panel.locator(".jobs-search").fill("plum")
    row(panel, "plum").get_by_role("button", name="Again").click()
    panel.get_by_text("It is in the queue again").wait_for()
    for _ in range(100):
        found = page_server.request("/serena/v1/jobs?text=plum&state=done")
        if found["total"] == 2:
            break
        site.page.wait_for_timeout(100)
    infotexts = [job["infotexts"] for job in found["jobs"]]
    assert found["total"] == 2 and infotexts[0] == infotexts[1]
    panel.locator(".jobs-search").fill("")


def test_jobs_are_added_without_waiting_for_them(site, busy, page_server):
    site.small()
    site.prompt().fill("by Shift")
    site.page.click("#txt2img_generate", modifiers=["Shift"])
    site.page.get_by_text("Added to the queue").wait_for()
    wait_for(lambda: len(listed(page_server, "queued")) == 1)
    site.prompt().fill("by the menu")
    site.page.click("#txt2img_generate", button="right")
    site.page.locator("#context-menu").get_by_text("Add to the queue").click()
    wait_for(lambda: len(listed(page_server, "queued")) == 2)
    site.prompt().fill("by keys")
    site.prompt().press("Control+Shift+Enter")
    wait_for(lambda: len(listed(page_server, "queued")) == 3)
    assert [job["text"] for job in listed(page_server, "queued")] == ["by keys", "by the menu", "by Shift"]
    assert not site.is_running(), "the tab waits for none of them"
    badge = "getComputedStyle(document.querySelector('.generate-box'), '::after').content"
    site.page.wait_for_function(f"{badge} === '\"4\"'")


def test_interrupt_takes_back_a_job_that_waits_and_no_other(site, busy, page_server):
    site.small()
    site.prompt().fill("never begun")
    site.page.click("#txt2img_generate")
    wait_for(lambda: listed(page_server, "queued"))
    site.page.click("#txt2img_interrupt")
    wait_for(lambda: not listed(page_server, "queued"))
    assert page_server.request(f"{JOBS}?text=never%20begun")["jobs"][0]["state"] == "cancelled"
    assert page_server.request(f"{JOBS}/{quote(busy['id'])}")["state"] == "running"
    site.page.wait_for_function("document.getElementById('txt2img_interrupting').style.display !== 'block'")


def test_a_picture_is_sent_from_the_history_and_enlarging_it_is_a_job(site, panel, page_server):
    body = {"prompt": "a fig to be sent", "width": 64, "height": 64, "steps": 1}
    page_server.request("/sdapi/v1/txt2img", body)
    show(panel, "over")
    panel.locator(".jobs-search").fill("fig sent")
    panel.get_by_label("Checkpoint", exact=True).select_option(index=1)
    panel.get_by_label("From this day on").fill("2020-01-01")
    made = row(panel, "a fig to be sent")
    made.wait_for()
    panel.get_by_label("Up to this day").fill("2020-01-02")
    panel.get_by_text("or on another day").wait_for()
    panel.get_by_role("button", name="Clear").click()
    made.get_by_text("Send to").click()
    made.get_by_role("button", name="Extras").click()
    site.page.locator("#extras_image img").wait_for()
    assert not panel.is_visible()
    site.page.click("#extras_generate")
    wait_for(lambda: page_server.request(f"{JOBS}?text=extras&state=done")["total"])
    job = page_server.request(f"{JOBS}?text=extras")["jobs"][0]
    assert (job["kind"], job["images"]) == ("extras", 1)
    site.page.wait_for_function("document.getElementById('extras_interrupt').style.display !== 'block'")
    site.show("txt2img")


def test_all_pictures_of_a_job_are_turned_over_and_sent(site, panel, page_server):
    body = {"prompt": "three figs", "width": 64, "height": 64, "steps": 1, "n_iter": 3, "seed": 7}
    page_server.request("/sdapi/v1/txt2img", body)
    show(panel, "over")
    made = row(panel, "three figs")
    place, picture = made.locator(".jobs-picture-count"), made.locator("a.jobs-picture")
    assert place.inner_text() == "1/3"
    made.get_by_role("button", name="Picture before").click()
    assert place.inner_text() == "3/3" and picture.get_attribute("href").endswith("/images/2")
    for number in (1, 2):
        made.get_by_role("button", name="Next picture").press("Enter")
        assert place.inner_text() == f"{number}/3"
    assert picture.get_attribute("title") == "Open picture 2 of 3"
    made.get_by_role("button", name="Next picture").click()
    made.get_by_role("button", name="To the form").click()
    site.page.wait_for_function("document.querySelector('#txt2img_seed input').value === '9'")
    site.page.click("#jobs_button")
    made.locator(".jobs-picture-count", has_text="1/3").wait_for()  # the list is read anew
    made.get_by_role("button", name="Picture before").click()
    made.get_by_text("Send to").click()
    made.get_by_role("button", name="Extras").click()
    sent = site.page.locator("#extras_image img")
    sent.wait_for()
    address = f"{page_server.url}/{picture.get_attribute('href')}"
    assert site.picture(sent.evaluate("image => image.src")).tobytes() == site.picture(address).tobytes()
    site.show("txt2img")


NOTE_REQUESTS = """() => {
    const {fetch} = window;
    window.fetch = (url, ...rest) => { window.lastAsked = url; return fetch(url, ...rest); };
    document.addEventListener("jobended", () => { window.askedAtEnd = window.lastAsked; window.fetch = fetch; });
}"""


def test_jobs_are_counted_anew_as_soon_as_one_has_ended(site):
    site.page.evaluate(NOTE_REQUESTS)
    site.small()
    site.page.click("#txt2img_generate")
    assert site.page.wait_for_function("window.askedAtEnd").json_value().startswith("internal/jobs?limit=1")
    site.page.wait_for_function("!document.querySelector('.generate-box').dataset.jobs")


def test_the_panel_is_for_keys_and_screen_readers(site, panel, page_server):
    show(panel, "live")
    site.page.keyboard.press("ArrowRight")
    assert site.page.evaluate("document.activeElement.textContent") == "History"
    panel.locator(".jobs-row").first.wait_for()
    assert site.barriers() == {}
    site.page.keyboard.press("ArrowLeft")
    site.page.keyboard.press("Escape")
    assert not panel.is_visible() and site.page.evaluate("document.activeElement.id") == "jobs_button"
