"""Makes one picture through the page, in a browser."""


def test_a_picture_through_the_page(site):
    site.small()
    site.prompt().fill("red apple")
    picture = site.generate()
    assert picture.size == (64, 64)
    assert "red apple" in site.infotext() and "Seed: 7" in site.infotext()
    assert "Time taken" in site.page.locator("#html_log_txt2img").inner_text()
