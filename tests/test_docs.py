"The builder of the docs site: links between pages, code left alone, and broken links found."
import importlib.util, re, shlex, shutil
from configparser import ConfigParser
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
import yaml
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output, new_raw_cell

from musiclm.cli import make_parser

spec = importlib.util.spec_from_file_location('build_site', Path(__file__).parent.parent/'docs'/'build_site.py')
site = importlib.util.module_from_spec(spec)
spec.loader.exec_module(site)
base = 'https://example.org/lib'


@pytest.mark.parametrize('link,page,to', [
    (base+'/notes.html#score', 'tokens.md', 'notes.md#score'),
    (base+'/notes.html#score.read', 'tokens.md', 'notes.md#score'), # a method is documented with its class
    (base+'/notes.html#nowhere', 'tokens.md', 'notes.md'),
    (base+'/notes.html#score', 'tutorials/first.md', '../notes.md#score'),
    ('../00_notes.ipynb#writing', 'tutorials/first.md', '../notes.md#writing'),
    ('https://example.com/a.html', 'notes.md', 'https://example.com/a.html'),
    ('picture.png', 'notes.md', 'picture.png')])
def test_links_lead_to_pages_of_the_site(link, page, to):
    assert site.relink(f'see [it]({link}).', page, base, {'notes.md': {'score'}}) == f'see [it]({to}).'


def test_code_is_left_alone():
    text = 'a `b` c\n```python\nd\n```\ne'
    assert site.outside_code(text, str.upper) == 'A `b` C\n```python\nd\n```\nE'


def test_a_page_shows_the_api_and_hides_what_it_should(tmp_path):
    api = new_output('display_data', {'text/markdown': '---\n\n[source](x){.y}\n\n### Score\n\n*Reads.*'})
    nb = new_notebook(cells=[
        new_raw_cell('---\ntitle: Notes\ndescription: All of them\n---\n'),
        new_code_cell('#| echo: false\nshow_doc(Score)', outputs=[api]),
        new_code_cell('print(1)', outputs=[new_output('stream', text='```')])])
    title, md = site.page_md(nb, tmp_path/'notes_files')
    assert title == 'Notes' and md.startswith('# Notes\n\n> All of them\n\n### Score {#score .api}\n\n*Reads.*')
    assert 'show_doc' not in md and 'source' not in md
    assert '```python\nprint(1)\n```' in md and '````{ .text .said }\n```\n````' in md


def test_tables_are_shown_as_tables_and_gone_progress_bars_not_at_all(tmp_path):
    both = new_output('display_data', {'text/html': '<table><tr><td>1</td></tr></table>', 'text/markdown': '```html\n<table>\n```'})
    assert site.output_md(both, tmp_path, 'a') == '<div class="cell-output"><table><tr><td>1</td></tr></table></div>'
    assert site.output_md(new_output('display_data', {'text/html': '<style>progress { width: 1px; }</style>\n'}), tmp_path, 'a') == ''


def test_what_was_printed_bit_by_bit_is_one_block(tmp_path):
    bits = [new_output('stream', text=s) for s in ('a\n', 'b\n')] + [new_output('execute_result', {'text/plain': '1'}), new_output('stream', text='c')]
    md = site.cell_md(new_code_cell('train()', outputs=bits), tmp_path, 0)
    assert '\na\nb\n```' in md and md.count('.said') == 3


def test_broken_links_are_found(tmp_path):
    (tmp_path/'a.html').write_text('<h1 id="top">A</h1><a href="b.html#x">b</a><a href="https://example.org">out</a>')
    (tmp_path/'b.html').write_text('<p id="x"></p><a href="a.html#top">a</a><a href="#x">self</a>')
    assert site.broken_links(tmp_path) == []
    (tmp_path/'b.html').write_text('<a href="c.html">c</a><img src="p.png"><a href="a.html#none">a</a>')
    assert site.broken_links(tmp_path) == ['a.html: b.html#x', 'b.html: a.html#none', 'b.html: c.html', 'b.html: p.png']


def test_each_page_has_one_place_in_the_navigation():
    sections = {'Start': ['index', 'howto/first'], 'How': ['howto/missing', 'howto/*'], 'API': ['api', '*'], 'End': ['howto/last']}
    names = ['index', 'api', 'notes', 'tokens', 'howto/a', 'howto/first', 'howto/last']
    nav = site.navigation(sections, names)
    assert nav == {'Start': ['index', 'howto/first'], 'How': ['howto/a'], 'API': ['api', 'notes', 'tokens'], 'End': ['howto/last']}
    with pytest.raises(ValueError, match='no section to other/page'): site.navigation(sections, names + ['other/page'])


def flat(entries, section=None): # (section, title, page) of either builder's navigation, pages without suffix
    for e in entries:
        if 'contents' in e: yield from flat(e['contents'], e['section'])
        elif 'href' in e: yield section, e['text'], site.page_name(e['href'])[:-3]
        else:
            (title, to), = e.items()
            if isinstance(to, list): yield from flat(to, title)
            else: yield section, title, to[:-3]


def test_both_builders_have_the_same_navigation():
    nbs = Path(site.root/'nbs')
    files = {site.page_name(p.relative_to(nbs).as_posix())[:-3]: p.relative_to(nbs).as_posix()
             for p in nbs.rglob('*.ipynb') if '.ipynb_checkpoints' not in p.parts} | {'api': 'api.ipynb'}
    titles = {n: f'Title of {n}' for n in files}
    nav = site.navigation(yaml.safe_load((site.root/'docs'/'nav.yml').read_text()), list(files))
    plain, quarto = site.mkdocs_nav(nav, titles), site.quarto_sidebar(nav, files, titles)['website']['sidebar']['contents']
    assert list(flat(plain)) == list(flat(quarto))
    assert sorted(page for *_, page in flat(plain)) == sorted(files)
    assert list(nav)[:6] == ['Start here', 'Tutorials', 'How-to', 'Explanations', 'API', 'Experiments']


def test_quarto_reads_what_is_written_for_it():
    settings = yaml.safe_load((site.root/'nbs'/'_quarto.yml').read_text())
    assert 'sidebar.yml' in settings['metadata-files'] and set(settings['format']['html']['theme']) == {'light', 'dark'}


def test_links_to_the_published_site_and_to_the_repository_are_followed(tmp_path):
    code = 'https://example.org/code/blob/main'
    (tmp_path/'a.html').write_text(f'<p id="x"></p><a href="{base}/a.html#x">a</a><a href="{code}/docs/nav.yml">n</a><a href="{base}">home</a>')
    (tmp_path/'index.html').write_text('')
    (tmp_path/'404.html').write_text('<a href="/lib/a.html#x">a</a>')
    assert site.broken_links(tmp_path, base, code) == []
    (tmp_path/'a.html').write_text(f'<a href="{base}/b.html">b</a><a href="{code}/docs/none.yml">n</a><a href="{base}x/b.html">other</a>')
    assert site.broken_links(tmp_path, base, code) == ['404.html: /lib/a.html#x', f'a.html: {code}/docs/none.yml', f'a.html: {base}/b.html']


def test_the_opener_sees_consoles_and_wide_pages(tmp_path, browser):
    def page(body): return f'<!doctype html><link rel="icon" href="data:,"><body style="margin:0">{body}'
    (tmp_path/'good.html').write_text(page('<p>fine</p><div style="overflow-x:auto"><div style="width:900px">wide</div></div>'))
    assert site.open_pages(tmp_path, browser) == []
    (tmp_path/'error.html').write_text(page('<script>nothing.there()</script>'))
    (tmp_path/'lost.html').write_text(page('<img src="none.png">'))
    (tmp_path/'wide.html').write_text(page('<div style="width:900px">wide</div>'))
    (tmp_path/'away.html').write_text(page('<script src="https://example.org/a.js"></script>'))
    bad = site.open_pages(tmp_path, browser)
    assert [b.split(':')[0] for b in bad] == ['away.html', 'error.html', 'lost.html', 'wide.html']
    assert 'nothing is not defined' in bad[1] and bad[3] == 'wide.html: 900 pixels wide in a window of 400'


CORE = '''
"What it is."
__all__ = ['LIMIT', 'READERS', 'double', 'Thing']
LIMIT = 12 # the most there may be
def double(x):
    "Twice `x`."
    return 2*x
class Thing: "A thing."
READERS = {'a': double}
'''


@pytest.fixture
def small(tmp_path):
    "A library of two modules, with notebooks as nbdev leaves them."
    lib, proc, nbs = tmp_path/'lib', tmp_path/'_proc', tmp_path/'nbs'
    for d in (lib, proc/'howto', nbs/'howto'): d.mkdir(parents=True)
    (lib/'core.py').write_text(CORE)
    (lib/'both.py').write_text("__all__ = ['double', 'LIMIT']\nfrom .core import double, LIMIT\n")
    def doc(name): return new_code_cell(f'#| echo: false\nshow_doc({name})',
        outputs=[new_output('display_data', {'text/markdown': f'---\n\n### {name}\n\n```python\ndef {name}(x, # As of [`double`]({base}/core.html#double)\n)\n```\n\n*Said.*'})])
    def front(title): return new_raw_cell(f'---\ntitle: {title}\noutput-file: {title.lower()}.html\n---\n')
    def write(where, name, *cells): nbformat.write(new_notebook(cells=list(cells)), where/name)
    source = [new_markdown_cell('# Core\n> One line'), new_markdown_cell('Limits.'), new_code_cell('#| export\nLIMIT = 12 # the most there may be'),
              new_markdown_cell('Things.'), new_code_cell("#| export\nREADERS = {'a': double}")]
    write(nbs, '00_core.ipynb', *source); write(nbs, '01_both.ipynb', source[0]); write(nbs, 'index.ipynb', source[0])
    write(nbs/'howto', 'do.ipynb', source[0])
    warning = new_markdown_cell('<!-- WARNING: THIS FILE WAS AUTOGENERATED! DO NOT EDIT! -->')
    write(proc, '00_core.ipynb', front('Core'), warning, new_markdown_cell('Limits.'), new_markdown_cell('Things.'), doc('double'), doc('Thing'))
    write(proc, '01_both.ipynb', front('Both'), warning)
    write(proc, 'index.ipynb', front('Home'), warning, new_markdown_cell(f'See [`double`]({base}/core.html#double) and [do](howto/do.ipynb).'))
    write(proc/'howto', 'do.ipynb', front('Do'), warning, new_markdown_cell('| a | b |\n|---|---|\n| 1 | 2 |'),
          new_code_cell('print(1)', outputs=[new_output('stream', text='wide '*60)]))
    return proc, nbs, lib


def test_the_api_page_lists_every_public_name(small):
    proc, nbs, lib = small
    site.enrich(proc, nbs, lib)
    core = '\n'.join(c.source for c in nbformat.read(proc/'00_core.ipynb', 4).cells)
    assert core.index('Limits.') < core.index('### LIMIT {#limit .api}') < core.index('Things.') < core.index('### READERS')
    api = nbformat.read(proc/'api.ipynb', 4).cells[1].source
    assert '| [`LIMIT`](core.html#limit) | the most there may be |' in api and '| [`double`](core.html#double) | Twice `x`. |' in api
    assert "`READERS = {'a': double}`" in api and '| [`Thing`](core.html#thing) | A thing. |' in api
    assert api.count('(core.html#double)') == 2 # the module that passes it on says where it is
    assert '[`double`]' not in nbformat.read(proc/'00_core.ipynb', 4).cells[-1].outputs[0].data['text/markdown']


def test_a_public_name_without_a_place_stops_the_build(small):
    proc, nbs, lib = small
    (lib/'core.py').write_text(CORE.replace("'Thing'", "'Thing', 'hidden'") + '\ndef hidden(): "Nowhere."\n')
    nb = nbformat.read(proc/'00_core.ipynb', 4)
    nbformat.write(nb, proc/'00_core.ipynb')
    with pytest.raises(ValueError, match='no page documents: core.hidden$'): site.enrich(proc, nbs, lib)


def test_a_small_site_is_built_linked_searched_and_opened(small, tmp_path, monkeypatch, request):
    pytest.importorskip('material', reason='mkdocs-material is not installed')
    proc, nbs, lib = small
    site.enrich(proc, nbs, lib)
    for name in ('docs/mkdocs.yml', 'nbs/styles.css'):
        (tmp_path/name).parent.mkdir(exist_ok=True)
        shutil.copy(site.root/name, tmp_path/name)
    shutil.copy(site.root/'nbs'/'styles.css', proc)
    monkeypatch.setattr(site, 'root', tmp_path)
    cfg = SimpleNamespace(title='small', description='A small site', doc_host='https://example.org', doc_baseurl='/lib', doc_path=tmp_path/'_docs')
    site.build_plain(cfg, proc, {'Start here': ['index'], 'How-to': ['howto/*'], 'API': ['api', '*']})
    pages = sorted(p.relative_to(cfg.doc_path).as_posix() for p in cfg.doc_path.rglob('*.html'))
    assert pages == ['404.html', 'api.html', 'both.html', 'core.html', 'howto/do.html', 'index.html']
    assert site.broken_links(cfg.doc_path, base) == []
    assert 'core.html#double' in (cfg.doc_path/'search'/'search_index.json').read_text()
    assert site.open_pages(cfg.doc_path, request.getfixturevalue('browser')) == []


def page(name): return '\n'.join(c.source for c in nbformat.read(site.root/'nbs'/name, 4).cells if c.cell_type == 'markdown')


def shown_commands(): # (file, line) of every `musiclm …` that stands in a block of commands
    texts = {p.relative_to(site.root).as_posix(): '\n'.join(c.source for c in nbformat.read(p, 4).cells if c.cell_type == 'markdown')
             for p in sorted((site.root/'nbs').rglob('*.ipynb')) if '.ipynb_checkpoints' not in p.parts}
    texts['README.md'] = (site.root/'README.md').read_text(encoding='utf-8')
    return [(name, line.removeprefix('$ ').strip()) for name, text in texts.items()
            for block in re.findall(r'^```(?:sh|bash)?\n(.*?)^```', text, flags=re.M|re.S)
            for line in block.replace('\\\n', ' ').splitlines() if line.removeprefix('$ ').startswith('musiclm ')]


def test_commands_that_pages_show_are_understood(capsys):
    commands, lost = shown_commands(), []
    assert len(commands) > 20
    for name, line in commands:
        words = [w for w in shlex.split(line, comments=True)[1:] if w != '…']
        try: make_parser().parse_args(words)
        except SystemExit as e:
            if e.code: lost.append(f'{name}: {line}: {capsys.readouterr().err.splitlines()[-1]}')
    assert not lost


def test_the_installation_page_names_every_extra():
    cfg = ConfigParser(delimiters=['='])
    cfg.read(site.root/'settings.ini', encoding='utf-8')
    extras = {k.removesuffix('_requirements') for k in cfg['DEFAULT'] if k.endswith('_requirements')}
    assert set(re.findall(r'^\| `(\w+)` \|', page('start/installation.ipynb'), flags=re.M)) - {'make'} == extras


def test_words_that_a_newcomer_meets_are_explained():
    rows = dict(re.findall(r'^\| \[([^\]]+)\]\(\S+\) \| (.+) \|$', page('start/words.ipynb'), flags=re.M))
    said = {w for words in rows for w in words.split(', ')}
    wanted = ('token step part work store generator critic judge floor ceiling normalised recall coverage interval tie onset clip '
              'prompt split vocabulary encoding grammar corpus piece AUC temperature seed epoch checkpoint copying').split()
    wanted += ['musical Inception score', 'conditional score', 'kernel distance', 'fooling rate', 'bits per note', 'held out', 'no composer']
    assert set(wanted) <= said and all(text.rstrip()[-1] == '.' for text in rows.values())
    tables = re.findall(r'(?:^\|.+\n?)+', page('start/words.ipynb'), flags=re.M)
    words = [re.findall(r'^\| \[([^\]]+)\]', t, flags=re.M) for t in tables]
    assert [w for t in words for w in sorted(t, key=str.lower)] == [w for t in words for w in t] and len(tables) == 4
