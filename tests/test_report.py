"The listening page: whole, self-contained, small, and audible."
import base64
import io
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from musiclm import report
from musiclm.notes import write_midi
from musiclm.scores import read_score
from musiclm.report import plan_audio, report_folder, write_report
from musiclm.charts import dot_chart, write_json
from musiclm.show import end_step, example_notes

PAGES = Path(report.__file__).parent/'pages'
LABELS = ['bach', 'beethoven', '<script>']


def make_pieces(n, n_bars=4):
    guess = dict(zip(LABELS, (.7, .2, .1)))
    return [SimpleNamespace(notes=example_notes(n_bars, seed=i), prompt_len=9, prompt_steps=48,
                            info=dict(name=f'Piece {i}', critic=1-i/n, composer=guess, prompt='BWV 1 & 2'))
            for i in range(n)]


def make_metrics():
    history = [dict(epoch=i, train_loss=3-i, valid_loss=3-.8*i, score=1.+i) for i in range(3)]
    score = lambda name, v: dict(name=name, value=np.float64(v), log=np.log(v), se=.05, low=v-.1, high=v+.1, n=256,
                                 normalised=v/3)
    return dict(scores=[score('real, held out', 2.9), score('unigram', 1.05), score('all pieces', 2.1)],
                generator=dict(nats_per_token=1.04, bits_per_note=4.3, history=history,
                               ngrams={4: dict(nats_per_token=2.1, bits_per_note=9)}),
                composer=dict(log_loss=[.3, .2, .4], macro_f1=[.9, .85, .95], history=history,
                              baseline=dict(log_loss=[.5, .4, .6], macro_f1=[.8, .7, .9]),
                              labels=LABELS, confusion=[[5, 1, 0], [0, 7, 0], [1, 1, 4]]),
                critic=dict(auc=[.9, .85, .95], baselines={'length': [.6, .5, .7]}, history=history),
                settings=dict(seed=7, sampling=dict(top_k=5)), seconds=dict(corpus=12.5))


class Elements(HTMLParser):
    "All elements with their attributes; ends that match no start are errors."
    void = {'meta', 'link', 'br', 'img', 'input'}

    def __init__(self, html):
        super().__init__()
        self.found, self.open = [], []
        self.feed(html)
        assert not self.open, self.open

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in self.void: self.open.append(tag)

    def handle_startendtag(self, tag, attrs): self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag): assert self.open.pop() == tag, tag


@pytest.fixture(scope='module')
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp('report')
    seen = []
    path = write_report(folder, make_pieces(7), make_metrics(), progress=lambda *o: seen.append(o))
    html = path.read_text(encoding='utf-8')
    return SimpleNamespace(folder=folder, path=path, html=html, elements=Elements(html).found, seen=seen)


def test_nothing_leads_outside(page):
    for tag, attrs in page.elements:
        for name in ('src', 'href', 'xlink:href', 'srcset', 'action', 'poster'):
            assert not re.match(r'\s*(\w+:)?//', attrs.get(name) or ''), (tag, attrs[name][:80])
    assert not re.search(r'url\((?!#)', page.html) and '@import' not in page.html and 'fetch(' not in page.html


def test_links_lead_somewhere(page):
    ids = {a['id'] for _, a in page.elements if 'id' in a}
    links = [a for t, a in page.elements if t == 'a']
    for link in links: assert link['href'][1:] in ids if link['href'][0] == '#' else link['href'].startswith('data:') and link['download']
    assert sorted(p.name for p in page.folder.iterdir()) == ['index.html', 'midi']


def carried(page, suffix): return [base64.b64decode(a['href'].split(',')[1]) for t, a in page.elements
                                   if t == 'a' and a.get('download', '').endswith(suffix)]


def test_the_page_carries_midi_and_scores(page, tmp_path):
    assert carried(page, '.mid') == [(page.folder/f'midi/{i:03d}.mid').read_bytes() for i in range(1, 8)]
    for piece, data in zip(make_pieces(7), carried(page, '.mxl'), strict=True):
        (tmp_path/'x.mxl').write_bytes(data)
        for column in ('onset', 'duration', 'pitch', 'part'): assert read_score(tmp_path/'x.mxl')[column].equals(piece.notes[column])


def test_only_so_many_scores_are_made(tmp_path):
    assert write_report(tmp_path, make_pieces(3, 1), n_scores=2).read_text(encoding='utf-8').count('.mxl"') == 2


def test_midi_files_hold_the_pieces(page):
    for i, piece in enumerate(make_pieces(7), 1):
        assert read_score(page.folder/f'midi/{i:03d}.mid')[['onset', 'pitch']].equals(piece.notes[['onset', 'pitch']])


def test_audio_is_right_long_and_heard(page):
    sounds = [a for t, a in page.elements if t == 'audio']
    assert len(sounds) == 7 and all(o['preload'] == 'none' and o['aria-label'] for o in sounds)
    for attrs, piece in zip(sounds, make_pieces(7)):
        heard, rate = soundfile.read(io.BytesIO(base64.b64decode(attrs['src'].split(',')[1])))
        assert abs(len(heard)/rate - (end_step(piece.notes)/24 + 1)) < .2
        assert np.sqrt((heard**2).mean()) > .03


def test_every_drawing_says_what_it_is(page):
    outer = [a for t, a in page.elements if t == 'svg' and ('viewbox' not in a or 'role' in a)]
    assert all(a.get('aria-label') or a.get('aria-hidden') == 'true' for a in outer)


def test_sections_and_order(page):
    for name in ('score', 'generator', 'composer', 'critic', 'all'): assert f'<section id="{name}"' in page.html
    assert re.findall(r'class="rank">(\d+)', page.html) == [str(i+1) for i in range(7)]
    assert page.html.count('class="piece best"') == 5
    assert page.seen == [(i+1, 7) for i in range(7)]
    text = re.sub(r'base64,[^"]*', '', page.html.split('</style>', 1)[1])
    assert 'sampling top k' in text and not re.search(r'\b(nan|None|inf)\b', text)


def test_text_is_escaped(page): assert page.html.count('<script>') == 1 and '&lt;script&gt;' in page.html and 'BWV 1 &amp; 2' in page.html


def test_labels_and_colours_for_light_and_dark(page):
    assert 'prefers-color-scheme:dark' in page.html and 'lang="en"' in page.html and 'width=device-width' in page.html


@pytest.mark.parametrize('missing', ['scores', 'generator', 'composer', 'critic', 'settings', 'seconds'])
def test_page_survives_a_missing_section(tmp_path, missing):
    metrics = make_metrics()
    del metrics[missing]
    Elements(write_report(tmp_path, make_pieces(1, 1), metrics).read_text(encoding='utf-8'))


def test_page_survives_thin_figures(tmp_path):
    metrics = dict(scores=[dict(name='all', value=1.5, low=None, high=float('nan'))], generator=dict(nats_per_token=1.),
                   composer=dict(labels=LABELS), critic=dict(auc=.7))
    piece = SimpleNamespace(notes=example_notes(1)[:0], prompt_steps=None, info={})
    html = write_report(tmp_path, [piece], metrics).read_text(encoding='utf-8')
    assert 'no audio' in html and 'critic’s choice' not in html and 'MusicXML' not in html


def test_size_per_piece(tmp_path):
    size = len(write_report(tmp_path, make_pieces(3, 35), max_bytes=3*300_000).read_bytes())
    assert size < 3*300_000


def test_a_failure_leaves_the_old_page(tmp_path, monkeypatch):
    page = write_report(tmp_path, make_pieces(1, 1))
    before = page.read_bytes()
    def fail(*_, **__): raise RuntimeError('in the middle')
    monkeypatch.setattr(report, 'encode_audio', fail)
    with pytest.raises(RuntimeError): write_report(tmp_path, make_pieces(2, 1))
    assert page.read_bytes() == before
    assert [o.name for o in tmp_path.iterdir() if o.is_file()] == ['index.html']


def test_does_not_overwrite_a_foreign_page(tmp_path):
    (tmp_path/'index.html').write_text('mine')
    with pytest.raises(ValueError, match='did not write'): write_report(tmp_path, make_pieces(1, 1))
    assert (tmp_path/'index.html').read_text() == 'mine'


def test_no_pieces(tmp_path):
    with pytest.raises(ValueError, match='no pieces'): write_report(tmp_path, [])
    assert not list(tmp_path.iterdir())


def test_folder_of_midi_files(tmp_path):
    for name in ('b', 'a #1'): write_midi(example_notes(2), tmp_path/f'{name}.mid')
    (tmp_path/'broken.mid').write_bytes(b'MThd')
    write_json(dict(critic=dict(auc=[.8, .7, .9])), tmp_path/'metrics.json')
    html = report_folder(tmp_path).read_text(encoding='utf-8')
    assert html.count('<audio') == 2 and 'download="a #1.mid"' in html and 'broken.mid' in html and '0.80' in html
    assert not (tmp_path/'midi').exists()
    assert base64.b64encode((tmp_path/'b.mid').read_bytes()).decode() in html # the file itself


def test_folder_without_music(tmp_path):
    with pytest.raises(ValueError, match='no MIDI file'): report_folder(tmp_path)
    with pytest.raises(ValueError, match='no such folder'): report_folder(tmp_path/'none')


@pytest.mark.parametrize('n, seconds', [(1, 5), (5, 70), (100, 70), (100, 75), (120, 400), (3, 4000)])
def test_plan_keeps_its_budget(n, seconds):
    rates, cut = plan_audio([seconds]*n, 29e6)
    length = min(seconds, cut or seconds)
    assert sum((length+1)*r*1000/8*4/3 for r in rates) <= 29e6
    assert rates == sorted(rates, reverse=True) and length >= min(seconds, 60)


def test_json_takes_numpy_and_has_no_nan(tmp_path):
    figures = dict(a=np.arange(3), b=[np.float32(.5), float('nan'), np.inf], c={1: np.bool_(True)}, d=None)
    path = write_json(figures, tmp_path/'m.json')
    assert json.loads(path.read_text()) == dict(a=[0, 1, 2], b=[.5, None, None], c={'1': True}, d=None)
    assert [o.name for o in tmp_path.iterdir()] == ['m.json']


def test_a_chart_takes_its_colours_from_the_page():
    chart = dot_chart([dict(name='x', value=2, low=1.5, high=3)], (1, 5), 'Score')
    assert 'var(--accent)' in chart['svg'] and '<text' in chart['svg'] and 'aria-label="Score"' in chart['svg']
    assert chart['svg'] == dot_chart([dict(name='x', value=2, low=1.5, high=3)], (1, 5), 'Score')['svg'] # no date, no chance


@pytest.mark.skipif(not shutil.which('node'), reason='needs node')
@pytest.mark.parametrize('script', sorted(p.name for p in PAGES.glob('*.js')))
def test_scripts_are_javascript(script):
    assert subprocess.run(['node', '--check', PAGES/script], capture_output=True).returncode == 0


def test_the_page_begins_with_music_and_shows_the_rest_on_demand(tmp_path):
    html = write_report(tmp_path, make_pieces(14, 1), make_metrics()).read_text(encoding='utf-8')
    assert html.index('id="p1"') < html.index('id="p10"') < html.index('id="figures"')
    assert sum(tag == 'article' for tag, _ in Elements(html).found) == 10 and html.count('type="text/html"') == 4


# in the browser

N, BARS = 6, 8


@pytest.fixture(scope='module')
def listening(tmp_path_factory):
    "Six pieces of 16 s, or 24 s where the tempo halves in the middle; prompts of 2 s; judged."
    pieces = make_pieces(N, BARS)
    for i, p in enumerate(pieces):
        shares = np.array([i % 3 == k for k in range(3)])*.6 + np.array([.1, .1, .1]) + i/100
        p.info.update(composer=dict(zip(LABELS, shares.tolist())), prompt_composer='beethoven')
    pieces[1].notes.attrs['tempos'] = [(0, 120), (48*BARS//2, 60)]
    return write_report(tmp_path_factory.mktemp('listening'), pieces)


@pytest.fixture
def tab(open_page, listening, request): return open_page(listening, getattr(request, 'param', 1400))


def shown(tab): return tab.evaluate('shown().map(card => +card.dataset.rank)')


def test_sorting_and_filtering(tab):
    assert shown(tab) == [1, 2, 3, 4, 5, 6] and tab.input_value('#sort') == 'rank'
    tab.select_option('#sort', 'score') # of beethoven, whose openings they go on from
    assert shown(tab) == [5, 2, 6, 4, 3, 1]
    tab.select_option('#sort', 'composer') # the likeliest, the surest first
    assert shown(tab) == [6, 3, 4, 1, 5, 2]
    tab.select_option('#composer', 'bach')
    assert shown(tab) == [4, 1] and tab.inner_text('#shown') == '2 of 6 pieces'
    tab.select_option('#composer', '')
    tab.select_option('#sort', 'length')
    assert shown(tab)[0] == 2
    tab.select_option('#sort', 'critic')
    tab.fill('#least-critic', '0.5')
    assert shown(tab) == [1, 2, 3, 4]
    tab.fill('#least-score', '0.5')
    assert shown(tab) == [2]
    boxes = [tab.locator(f'#p{i}').is_visible() for i in range(1, N+1)]
    assert boxes == [False, True, False, False, False, False]


def left(tab, i): return tab.evaluate(f'parseFloat(document.querySelector("#p{i} .cursor").style.left)/100')


@pytest.mark.parametrize('i, at, second', [(1, .25, 4), (2, .25, 4), (2, .75, 16)])
def test_a_click_on_the_roll_seeks_and_the_cursor_is_there(tab, i, at, second):
    tab.locator(f'#p{i}').scroll_into_view_if_needed()
    area = tab.locator(f'#p{i} .rollbox').bounding_box()
    tab.mouse.click(area['x'] + at*area['width'], area['y'] + 20)
    tab.wait_for_function(f'audioOf(byId("p{i}")).currentTime > {second} + .2')
    tab.evaluate(f'audioOf(byId("p{i}")).pause()')
    time = tab.evaluate(f'audioOf(byId("p{i}")).currentTime')
    tab.wait_for_function('!document.querySelector(".playing")')
    length, speed = (16, 1) if i == 1 else (24, 1 if second < 8 else .5)
    assert second < time < second + 3
    assert left(tab, i) == pytest.approx(at + speed*(time - second)/16, abs=.01)
    assert tab.inner_text(f'#p{i} .now').endswith('in the continuation')
    assert tab.evaluate(f'Math.abs(audioOf(byId("p{i}")).duration - {length} - 1)') < .2


def test_by_keyboard(tab):
    press = tab.keyboard.press
    here, playing = lambda: tab.evaluate('here?.id'), lambda: tab.evaluate('[...document.querySelectorAll(".playing")].map(c => c.id)')
    press('j'); press('j'); press('k')
    assert here() == 'p1' and playing() == []
    press('Space')
    tab.wait_for_function('audioOf(here).currentTime > .1')
    assert playing() == ['p1'] and tab.inner_text('#p1 .now').endswith('in the prompt')
    press('n')
    tab.wait_for_function('!audioOf(byId("p2")).paused && audioOf(byId("p2")).currentTime > 0')
    assert here() == 'p2' and playing() == ['p2'] and tab.evaluate('audioOf(byId("p1")).paused')
    press('c')
    tab.wait_for_function('audioOf(here).currentTime >= 2')
    press('Space')
    tab.wait_for_function('audioOf(here).paused')
    before = tab.evaluate('audioOf(here).currentTime')
    press('ArrowRight')
    tab.wait_for_function(f'Math.abs(audioOf(here).currentTime - {before} - 5) < .01')
    press('ArrowLeft'); press('Home')
    tab.wait_for_function('audioOf(here).currentTime === 0')
    press('?')
    assert tab.locator('#keys').is_visible()
    press('Escape')
    press('p')
    tab.wait_for_function('here.id === "p1" && !audioOf(here).paused')


def test_downloads_have_the_right_bytes(tab, listening, tmp_path):
    for kind, suffix in (('MIDI', '.mid'), ('MusicXML', '.mxl'), ('WAV', '.wav')):
        with tab.expect_download() as got: tab.get_by_label(f'{kind} file of Piece 0').click()
        assert got.value.suggested_filename == f'001{suffix}'
        got.value.save_as(tmp_path/f'x{suffix}')
    assert (tmp_path/'x.mid').read_bytes() == (listening.parent/'midi'/'001.mid').read_bytes()
    assert read_score(tmp_path/'x.mxl')[['onset', 'pitch']].equals(make_pieces(1, BARS)[0].notes[['onset', 'pitch']])
    heard, rate = soundfile.read(tmp_path/'x.wav')
    assert rate == 16000 and heard.ndim == 1 and abs(len(heard)/rate - 17) < .2
    first = np.flatnonzero(np.abs(heard) > .02)[0]/rate
    assert first < .1 and np.sqrt((heard**2).mean()) > .03


@pytest.mark.parametrize('tab', [1400, 400], indirect=True)
def test_it_fits_and_everything_has_a_name(tab):
    assert tab.evaluate('document.documentElement.scrollWidth <= innerWidth')
    assert tab.evaluate('''[...document.querySelectorAll("button, select, input, a, audio, [role=slider], dialog, article")].every(
        o => o.getAttribute("aria-label") || o.textContent.trim() || o.closest("label"))''')
    assert tab.evaluate('[...document.querySelectorAll("[role=slider]")].every(o => +o.getAttribute("aria-valuemax") >= 16)')


@pytest.mark.parametrize('prompt_steps', [[0, 0], [0, 48]])
def test_shading_is_spoken_of_where_there_is_some(tmp_path, prompt_steps):
    pieces = make_pieces(2, 1)
    for piece, steps in zip(pieces, prompt_steps): piece.prompt_steps = steps
    html = write_report(tmp_path, pieces).read_text(encoding='utf-8')
    assert 'critic’s choice' in html and ('shaded beginning' in html) == any(prompt_steps)
