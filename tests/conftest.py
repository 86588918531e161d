"What all tests share: no display, property tests that try the same examples each time, however slow the machine, a browser."
import shutil
import sys
from pathlib import Path

import matplotlib
import pytest
from hypothesis import HealthCheck, settings

matplotlib.use('agg')
settings.register_profile('musiclm', deadline=None, derandomize=True, database=None,
                          suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
settings.load_profile('musiclm')
sys.path.insert(0, str(Path(__file__).resolve().parent/'data')) # make_nasty, which writes files byte by byte


@pytest.fixture(scope='session')
def browser():
    "Headless Chromium, for tests of pages; they are skipped where there is none."
    playwright = pytest.importorskip('playwright.sync_api', reason='playwright is not installed')
    found = next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))), None)
    if not found: pytest.skip('Chromium is not installed')
    with playwright.sync_playwright() as p:
        chromium = p.chromium.launch(executable_path=found, args=['--no-sandbox'])
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser):
    "A function that opens a page in a tab of some width; the page may say nothing to the console, and ask nobody for anything."
    contexts, said = [], []
    def opened(path, width=1400):
        contexts.append(browser.new_context(viewport=dict(width=width, height=900), accept_downloads=True))
        tab = contexts[-1].new_page()
        tab.on('console', lambda m: said.append(m.text))
        tab.on('pageerror', lambda e: said.append(str(e)))
        tab.on('request', lambda r: None if r.url.startswith(('file:', 'data:', 'blob:')) else said.append(r.url))
        tab.goto(path.as_uri())
        return tab
    yield opened
    for context in contexts: context.close()
    assert not said
