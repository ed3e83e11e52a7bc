"""The panel of jobs in a browser: what waits and runs, the history, and what its buttons do."""

import pytest


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
