"The docs site, the README and the pages: what the builder writes, and that commands, links and words on them hold."
import importlib.util, re, shlex
from configparser import ConfigParser
from pathlib import Path

import nbformat
import pytest
import yaml
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from musiclm.cli import make_parser

spec = importlib.util.spec_from_file_location('build_site', Path(__file__).parent.parent/'docs'/'build_site.py')
site = importlib.util.module_from_spec(spec)
spec.loader.exec_module(site)
notebooks = sorted(p for p in (site.root/'nbs').rglob('*.ipynb') if '.ipynb_checkpoints' not in p.parts)


def scale(
    notes:list, # Pitches
    by:float=2., # Factor
    *, # keyword only
    limit:int=None, # Largest result | or None
) -> list: # The products
    "Multiply every pitch."
    return [min(n*by, limit or n*by) for n in notes]


class Scaler:
    "Scales many times."
    def __init__(self, by:int=2): self.by = by # Factor
    def scale(self, notes): "Scale once."; return notes


def test_an_api_page_shows_signature_parameters_returns_and_source():
    text = site.object_md('scale', scale, Path(__file__), Path(__file__).read_text(encoding='utf-8'))
    signature = 'scale(notes: list, by: float = 2.0, *, limit: int = None) -> list'
    assert text.startswith(f'### scale {{#scale .api}}\n\n```python\n{signature}\n```')
    assert 'Multiply every pitch.' in text and '| `by` | `float` | `2.0` | Factor |' in text
    assert 'Largest result \\| or None' in text and '**Returns** `list` The products' in text
    line = re.search(r'\[source\]\(https://github.com/\S+/test_docs.py#L(\d+)\)', text)
    assert Path(__file__).read_text(encoding='utf-8').splitlines()[int(line[1]) - 1] == 'def scale('


def test_an_api_page_lists_methods_and_constants():
    file = site.root/'musiclm'/'vocab.py'
    text = site.object_md('Scaler', Scaler, Path(__file__), '')
    assert '| `scale(notes)` | Scale once. |' in text and 'Scaler(by: int = 2)' in text
    assert '```python\nLIMIT = {1: 2}\n```' in site.object_md('LIMIT', {1: 2}, file, 'A = 1\nLIMIT = {1: 2}\n')


def test_a_page_hides_directives_and_keeps_outputs(tmp_path, monkeypatch):
    monkeypatch.setattr(site, 'root', tmp_path)
    (tmp_path/'nbs'/'howto').mkdir(parents=True)
    table = '<div>\n<style scoped>a {}\n\n</style>\n<table>\n\n<tr><td>1</td></tr></table></div>'
    nb = new_notebook(cells=[
        new_markdown_cell('# Do\n\n> It'), new_code_cell('#| default_exp do'), new_code_cell('#| hide\nsecret()'),
        new_markdown_cell('See [notes](../00_notes.ipynb#x), `Score` and `other`; `$5$` and $x^2$.'),
        new_code_cell('#| echo: false\nhidden()', outputs=[new_output('stream', text='printed')]),
        new_code_cell('#| export\nshown()', outputs=[new_output('execute_result', {'text/html': table})])])
    nbformat.write(nb, tmp_path/'nbs'/'howto'/'do.ipynb')
    text, files = site.notebook_md(tmp_path/'nbs'/'howto'/'do.ipynb', {'Score': 'metrics'})
    assert '[notes](../notes.md#x)' in text and '[`Score`](../metrics.md#Score)' in text and ' `other`;' in text
    assert '`$5$`' in text and '<math' in text and not files
    assert 'printed' in text and '```python\nshown()\n```' in text
    assert not any(word in text for word in ('secret', 'hidden', '#|', 'style', 'default_exp'))
    assert '<div class="cell-output"><div>\n<table>\n<tr><td>1</td></tr></table></div></div>' in text


def test_names_in_code_links_and_headings_are_not_linked():
    text = '# `Score`\n[`Score`](a.md) `Score`\n```\n`Score`\n```'
    linked = site.link_names(text, {'Score': 'm'})
    assert linked == '# `Score`\n[`Score`](a.md) [`Score`](m.md#Score)\n```\n`Score`\n```'


def test_the_opener_sees_consoles_and_wide_pages(tmp_path, browser):
    def page(body): return f'<!doctype html><link rel="icon" href="data:,"><body style="margin:0">{body}'
    (tmp_path/'good.html').write_text(page('<div style="overflow-x:auto"><div style="width:900px">wide</div></div>'))
    assert site.open_pages(tmp_path, browser) == []
    (tmp_path/'error.html').write_text(page('<script>nothing.there()</script>'))
    (tmp_path/'lost.html').write_text(page('<img src="none.png">'))
    (tmp_path/'wide.html').write_text(page('<div style="width:900px">wide</div>'))
    (tmp_path/'away.html').write_text(page('<script src="https://example.org/a.js"></script>'))
    bad = site.open_pages(tmp_path, browser)
    assert [b.split(':')[0] for b in bad] == ['away.html', 'error.html', 'lost.html', 'wide.html']
    assert 'nothing is not defined' in bad[1] and bad[3] == 'wide.html: 900 pixels wide in a window of 400'


def test_the_navigation_has_every_page_once():
    nav = yaml.safe_load((site.root/'docs'/'mkdocs.yml').read_text(encoding='utf-8'))['nav']
    pages = [p for s in nav for v in s.values() for p in ([v] if isinstance(v, str) else v)]
    wanted = [site.page_name(p.relative_to(site.root/'nbs').as_posix()) for p in notebooks if not p.name[0].isdigit()]
    assert sorted(pages) == sorted(wanted + ['commands.md'])


def texts(): # path from the root -> Markdown, of all pages
    found = {p: '\n'.join(c.source for c in nbformat.read(p, 4).cells if c.cell_type == 'markdown') for p in notebooks}
    for name in ('README.md', 'CONTRIBUTING.md'): found[site.root/name] = (site.root/name).read_text(encoding='utf-8')
    return found


def test_links_between_pages_lead_somewhere():
    made = {'leaderboard_pieces.html'} # copied when the site is built
    lost = [f'{p.name}: {to}' for p, text in texts().items() for to in re.findall(r'\]\(([^)\s#]+)', text)
            if '://' not in to and to not in made and not (p.parent/to).exists()]
    assert not lost


def test_the_readme_is_a_landing_page():
    text = (site.root/'README.md').read_text(encoding='utf-8')
    assert len(text.splitlines()) <= 120 and 'nbs/images/roll.png' in text
    assert sum(p.stat().st_size for p in (site.root/'nbs'/'images').iterdir()) < 200_000
    code, = re.findall(r'^```python\n(.*?)^```', text, flags=re.M|re.S)
    compile(code, 'README.md', 'exec')


def page(name): return texts()[site.root/'nbs'/name]


def shown_commands(): # (file, line) of every `musiclm …` that stands in a block of commands
    return [(p.name, line.removeprefix('$ ').strip()) for p, text in texts().items()
            for block in re.findall(r'^```(?:sh|bash)?\n(.*?)^```', text, flags=re.M|re.S)
            for line in block.replace('\\\n', ' ').splitlines() if line.removeprefix('$ ').startswith('musiclm ')]


def test_commands_that_pages_show_are_understood(capsys):
    commands, lost = shown_commands(), []
    assert len(commands) > 15
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


def test_the_glossary_is_in_order_and_explains_what_a_newcomer_meets():
    tables = re.findall(r'(?:^\|.+\n?)+', page('start/words.ipynb'), flags=re.M)
    words = [re.findall(r'^\| \[([^\]]+)\]\(\S+\) \| .+\. \|$', t, flags=re.M) for t in tables]
    assert all(t == sorted(t, key=str.lower) for t in words)
    assert [len(t) for t in words] == [len(t.splitlines()) - 2 for t in tables]
    wanted = ('token step part work store generator critic judge floor ceiling normalised recall interval tie onset '
              'clip prompt split vocabulary corpus temperature epoch').split()
    wanted += ['musical Inception score', 'conditional score', 'kernel distance', 'fooling rate', 'bits per note',
               'held out', 'no composer']
    assert set(wanted) <= {w for t in words for ws in t for w in ws.split(', ')}
