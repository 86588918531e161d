"The builder of the docs site: links between pages, code left alone, and broken links found."
import importlib.util
from pathlib import Path

import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output, new_raw_cell

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
    assert '```python\nprint(1)\n```' in md and '````text\n```\n````' in md


def test_broken_links_are_found(tmp_path):
    (tmp_path/'a.html').write_text('<h1 id="top">A</h1><a href="b.html#x">b</a><a href="https://example.org">out</a>')
    (tmp_path/'b.html').write_text('<p id="x"></p><a href="a.html#top">a</a><a href="#x">self</a>')
    assert site.broken_links(tmp_path) == []
    (tmp_path/'b.html').write_text('<a href="c.html">c</a><img src="p.png"><a href="a.html#none">a</a>')
    assert site.broken_links(tmp_path) == ['a.html: b.html#x', 'b.html: a.html#none', 'b.html: c.html', 'b.html: p.png']
